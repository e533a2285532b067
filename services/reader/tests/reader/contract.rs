//! What the reader relies on of SQS, checked against the embedded queue.

use std::time::Duration;

use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, MessageAttributeValue,
    MessageSystemAttributeName, MessageSystemAttributeNameForSends, MessageSystemAttributeValue,
    SendMessageBatchRequestEntry,
};
use tokio::time::{Instant, sleep};

use crate::sqs::Sqs;

fn deletion(id: &str, handle: &str) -> DeleteMessageBatchRequestEntry {
    DeleteMessageBatchRequestEntry::builder().id(id).receipt_handle(handle).build().unwrap()
}

#[tokio::test]
async fn entries_fail_one_by_one_inside_a_successful_batch() {
    let sqs = Sqs::start().await;
    let url = sqs.create("q").await;
    sqs.send(&url, "a").await;
    let handle = sqs.receive(&url).await.remove(0).receipt_handle.unwrap();
    let call = sqs.client.delete_message_batch().queue_url(&url);
    let output = call.entries(deletion("0", "garbage")).entries(deletion("1", &handle)).send().await.unwrap();
    assert_eq!((output.failed[0].id.as_str(), output.failed[0].sender_fault), ("0", true));
    assert_eq!(output.successful[0].id, "1");
    assert_eq!(sqs.counts(&url).await, (0, 0));
}

#[tokio::test]
async fn a_handle_of_an_older_receive_does_not_delete_and_the_newest_does() {
    let sqs = Sqs::start().await;
    let url = sqs.create("q").await;
    sqs.send(&url, "a").await;
    let old = sqs.receive_hidden(&url, 1, 0).await.remove(0).receipt_handle.unwrap();
    let new = sqs.receive_hidden(&url, 30, 3).await.remove(0).receipt_handle.unwrap();
    let call = || sqs.client.delete_message_batch().queue_url(&url);
    // AWS may accept the old handle without effect; the embedded queue refuses it. Either way the message
    // stays.
    call().entries(deletion("0", &old)).send().await.unwrap();
    assert_eq!(sqs.counts(&url).await, (0, 1));
    call().entries(deletion("0", &new)).send().await.unwrap();
    assert_eq!(sqs.counts(&url).await, (0, 0));
}

#[tokio::test]
async fn visibility_zero_shows_a_message_at_once_and_the_receive_has_counted() {
    let sqs = Sqs::start().await;
    let url = sqs.create("q").await;
    let id = sqs.send(&url, "a").await;
    let handle = sqs.receive(&url).await.remove(0).receipt_handle.unwrap();
    assert!(sqs.receive(&url).await.is_empty());
    show(&sqs, &url, &handle, 0).await;
    let again = sqs.receive(&url).await.remove(0);
    assert_eq!(again.message_id, Some(id));
    let attributes = again.attributes.unwrap();
    let count: u32 = attributes[&MessageSystemAttributeName::ApproximateReceiveCount].parse().unwrap();
    // AWS says 2; the embedded queue also counts that the visibility ran out.
    assert!((2..=3).contains(&count), "{count}");
}

async fn show(sqs: &Sqs, url: &str, handle: &str, visibility: i32) {
    let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id("0").receipt_handle(handle);
    let entry = entry.visibility_timeout(visibility).build().unwrap();
    let output =
        sqs.client.change_message_visibility_batch().queue_url(url).entries(entry).send().await.unwrap();
    assert_eq!(output.successful.len(), 1);
}

#[tokio::test]
async fn an_extension_hides_beyond_the_timeout_of_the_receive() {
    let sqs = Sqs::start().await;
    let url = sqs.create("q").await;
    sqs.send(&url, "a").await;
    let handle = sqs.receive_hidden(&url, 1, 0).await.remove(0).receipt_handle.unwrap();
    show(&sqs, &url, &handle, 30).await;
    sleep(Duration::from_millis(1500)).await;
    assert!(sqs.receive(&url).await.is_empty());
}

#[tokio::test]
async fn a_long_poll_returns_as_soon_as_a_message_is_there_and_empty_when_none_comes() {
    let sqs = Sqs::start().await;
    let url = sqs.create("q").await;
    let began = Instant::now();
    assert!(sqs.receive_hidden(&url, 30, 1).await.is_empty());
    assert!(began.elapsed() >= Duration::from_millis(900));
    let began = Instant::now();
    let late = async {
        sleep(Duration::from_millis(200)).await;
        sqs.send(&url, "late").await;
    };
    let (received, ()) = tokio::join!(sqs.receive_hidden(&url, 30, 10), late);
    assert_eq!(received.len(), 1);
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn attributes_and_the_trace_header_arrive_as_they_were_sent() {
    let sqs = Sqs::start().await;
    let url = sqs.create("q").await;
    let text = MessageAttributeValue::builder().data_type("String").string_value("ü").build().unwrap();
    let header =
        MessageSystemAttributeValue::builder().data_type("String").string_value("Root=1-x").build().unwrap();
    let send = sqs.client.send_message().queue_url(&url).message_body("a").message_attributes("colour", text);
    let send = send.message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, header);
    send.send().await.unwrap();
    let message = sqs.receive(&url).await.remove(0);
    assert_eq!(message.message_attributes.unwrap()["colour"].string_value.as_deref(), Some("ü"));
    let system = message.attributes.unwrap();
    assert_eq!(system[&MessageSystemAttributeName::AwsTraceHeader], "Root=1-x");
    assert!(system[&MessageSystemAttributeName::SentTimestamp].parse::<i64>().unwrap() > 1_600_000_000_000);
}

#[tokio::test]
async fn after_too_many_receives_a_message_moves_to_the_dead_letter_queue_with_id_and_sent_time() {
    let sqs = Sqs::start().await;
    let url = sqs.create_with_redrive("q", "dead", 2).await;
    let id = sqs.send(&url, "a").await;
    let (mut sent, mut receives) = (None, 0);
    while let Some(message) = sqs.receive(&url).await.pop() {
        sent = message.attributes.unwrap().remove(&MessageSystemAttributeName::SentTimestamp);
        receives += 1;
        show(&sqs, &url, &message.receipt_handle.unwrap(), 0).await;
    }
    assert!((1..=2).contains(&receives), "{receives}");
    let dead = sqs.create("dead").await;
    let moved = sqs.receive(&dead).await.remove(0);
    assert_eq!(moved.message_id, Some(id));
    assert_eq!(moved.attributes.unwrap().remove(&MessageSystemAttributeName::SentTimestamp), sent);
}

#[tokio::test]
async fn a_batch_has_at_most_ten_entries_with_distinct_ids() {
    let sqs = Sqs::start().await;
    let url = sqs.create("q").await;
    let entry = |id: usize| {
        SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body("a").build().unwrap()
    };
    let send = |ids: Vec<usize>| {
        let entries = ids.into_iter().map(entry).collect();
        sqs.client.send_message_batch().queue_url(&url).set_entries(Some(entries)).send()
    };
    let code =
        |error: Option<&str>| error.unwrap_or_default().rsplit('.').next().unwrap_or_default().to_owned();
    let eleven = send((0..11).collect()).await.unwrap_err();
    assert_eq!(code(eleven.code()), "TooManyEntriesInBatchRequest");
    let twice = send(vec![1, 1]).await.unwrap_err();
    assert_eq!(code(twice.code()), "BatchEntryIdsNotDistinct");
    assert_eq!(send((0..10).collect()).await.unwrap().successful.len(), 10);
}

#[tokio::test]
async fn a_body_of_a_mebibyte_passes_whole() {
    let sqs = Sqs::start().await;
    let url = sqs.create("q").await;
    let body = "é".repeat(512 * 1024);
    sqs.send(&url, &body).await;
    assert!(sqs.receive(&url).await.remove(0).body.unwrap() == body);
}

#[tokio::test]
async fn a_missing_queue_is_named_as_such() {
    let sqs = Sqs::start().await;
    let error = sqs.client.get_queue_url().queue_name("nowhere").send().await.unwrap_err();
    let code = error.code().unwrap();
    assert!(code.ends_with("NonExistentQueue") || code.ends_with("QueueDoesNotExist"), "{code}");
}
