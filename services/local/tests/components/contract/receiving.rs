//! Receives: what is counted, how long messages are hidden, and what comes with them.

use aws_sdk_sqs::types::MessageSystemAttributeName as Name;

use super::{Sqs, code, handle, receives, system};

#[tokio::test]
async fn each_redelivery_counts_once_whether_a_message_is_shown_or_its_time_ends() {
    let sqs = Sqs::start().await;
    sqs.send("{}").await;
    for count in 1..=3 {
        assert_eq!(receives(&sqs.receive_one(0).await), count);
    }
    // Hidden for a second; the next long poll gets it when that is over.
    for count in 4..=6 {
        assert_eq!(receives(&sqs.receive_one(1).await), count);
    }
}

#[tokio::test]
async fn after_ten_receives_and_no_sooner_a_message_is_in_the_dead_letter_queue() {
    let sqs = Sqs::start().await;
    let id = sqs.send("{}").await;
    let mut sent = String::new();
    for count in 1..=10 {
        let message = sqs.receive_one(0).await;
        assert_eq!((receives(&message), message.message_id.as_ref()), (count, Some(&id)));
        sent.clone_from(&system(&message)[&Name::SentTimestamp]);
        assert_eq!(sqs.counts(&sqs.pair.dead_letter_url).await, [0, 0, 0]);
    }
    assert!(sqs.receive(sqs.url(), 0, 0).await.is_empty());
    assert_eq!(sqs.counts(sqs.url()).await, [0, 0, 0]);
    let dead = sqs.receive(&sqs.pair.dead_letter_url, 0, 0).await.pop().unwrap();
    assert_eq!((dead.message_id.as_ref(), receives(&dead)), (Some(&id), 11));
    assert_eq!(system(&dead)[&Name::SentTimestamp], sent);
    assert_eq!(system(&dead)[&Name::DeadLetterQueueSourceArn], "arn:aws:sqs:us-east-1:000000000000:logins");
}

#[tokio::test]
async fn a_long_poll_gets_the_message_that_is_sent_while_it_waits() {
    let sqs = Sqs::start().await;
    let send = async {
        tokio::task::yield_now().await;
        sqs.send("{}").await
    };
    let (received, id) = tokio::join!(sqs.receive(sqs.url(), 30, 20), send);
    assert_eq!(received[0].message_id, Some(id));
    assert!(sqs.receive(sqs.url(), 30, 0).await.is_empty(), "a hidden message was delivered");
    assert_eq!(sqs.counts(sqs.url()).await, [0, 1, 0]);
}

#[tokio::test]
async fn every_receive_has_a_handle_of_its_own_and_the_same_times() {
    let sqs = Sqs::start().await;
    sqs.send("{}").await;
    let (first, second) = (sqs.receive_one(0).await, sqs.receive_one(0).await);
    assert_ne!(handle(&first), handle(&second));
    for name in [Name::SentTimestamp, Name::ApproximateFirstReceiveTimestamp, Name::SenderId] {
        assert_eq!(system(&first)[&name], system(&second)[&name]);
    }
}

#[tokio::test]
async fn what_a_receive_asks_for_is_what_comes() {
    let sqs = Sqs::start().await;
    sqs.send("{}").await;
    let call = || sqs.client.receive_message().queue_url(sqs.url()).visibility_timeout(0);
    let bare = call().send().await.unwrap().messages.unwrap().pop().unwrap();
    assert!(bare.attributes.is_none() && bare.message_attributes.is_none());
    let one = call().message_system_attribute_names(Name::SentTimestamp).send().await.unwrap();
    let one = one.messages.unwrap().pop().unwrap();
    assert_eq!(system(&one).keys().collect::<Vec<_>>(), [&Name::SentTimestamp]);
}

#[tokio::test]
async fn numbers_outside_of_their_range_are_refused() {
    let sqs = Sqs::start().await;
    let call = || sqs.client.receive_message().queue_url(sqs.url());
    for call in [
        call().max_number_of_messages(0),
        call().max_number_of_messages(11),
        call().visibility_timeout(43_201),
        call().wait_time_seconds(21),
        call().wait_time_seconds(-1),
    ] {
        assert_eq!(code(call.send().await), "InvalidParameterValue");
    }
}
