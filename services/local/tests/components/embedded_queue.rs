//! The embedded queue as the AWS SDK sees it.

use std::time::Duration;

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use veilpost_local::events::{DEFAULT_ODD_PER_MILLION, DEFAULT_SEED, SampleEvents};
use veilpost_local::queue::{EmbeddedQueue, QueueClient, QueuePair, Sender};

async fn start() -> (EmbeddedQueue, QueuePair) {
    let queue = EmbeddedQueue::start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let pair = queue.create_pair("user-logins", "user-logins-dead-letter").unwrap();
    (queue, pair)
}

async fn receive(queue: &EmbeddedQueue, url: &str) -> Vec<Message> {
    let request = queue.client().receive_message().queue_url(url).max_number_of_messages(10);
    let request = request.message_system_attribute_names(MessageSystemAttributeName::All);
    request.visibility_timeout(0).send().await.unwrap().messages.unwrap_or_default()
}

fn sent_time(message: &Message) -> u64 {
    message.attributes.as_ref().unwrap()[&MessageSystemAttributeName::SentTimestamp].parse().unwrap()
}

#[tokio::test]
async fn sample_events_arrive_as_they_were_made_and_carry_a_trace_context() {
    let (queue, pair) = start().await;
    let events = SampleEvents::new(DEFAULT_SEED, DEFAULT_ODD_PER_MILLION);
    let client = QueueClient { client: queue.client(), url: pair.url.clone() };
    let mut taken = Vec::new();
    let sender = Sender { queue: client, concurrency: 3, rate: None, traced: true };
    sender.send(events, 25, async |_| (), |batch| taken.extend(batch)).await.unwrap();

    taken.sort_by_key(|sent| sent.number);
    assert_eq!(taken.iter().map(|sent| sent.number).collect::<Vec<_>>(), (0..25).collect::<Vec<_>>());
    let mut arrived = Vec::new();
    while arrived.len() < 25 {
        let request = queue.client().receive_message().queue_url(&pair.url).max_number_of_messages(10);
        let request = request.message_attribute_names("traceparent");
        arrived.extend(request.send().await.unwrap().messages.unwrap_or_default());
    }
    for message in arrived {
        let sent = taken.iter().find(|sent| Some(&sent.message_id) == message.message_id.as_ref()).unwrap();
        assert_eq!(message.body.unwrap(), events.event(sent.number).body);
        let traceparent = &message.message_attributes.unwrap()["traceparent"];
        assert_eq!(traceparent.string_value.as_ref().map(String::len), Some(55));
    }
}

#[tokio::test]
async fn sent_times_have_milliseconds_and_stay_the_same_in_every_delivery() {
    let (queue, pair) = start().await;
    for _ in 0..5 {
        queue.client().send_message().queue_url(&pair.url).message_body("{}").send().await.unwrap();
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let mut times = std::collections::HashMap::new();
    for _ in 0..3 {
        for message in receive(&queue, &pair.url).await {
            let time = sent_time(&message);
            assert_eq!(*times.entry(message.message_id).or_insert(time), time);
        }
    }
    assert_eq!(times.len(), 5);
    assert!(times.values().any(|time| time % 1_000 != 0));
}

#[tokio::test]
async fn the_queue_redrives_to_its_dead_letter_queue_and_urls_name_the_called_host() {
    let (queue, pair) = start().await;
    assert!(pair.url.starts_with(&format!("{}/", queue.endpoint())), "{}", pair.url);
    let found = queue.client().get_queue_url().queue_name("user-logins").send().await.unwrap();
    assert_eq!(found.queue_url, Some(pair.url.clone()));

    let request = queue.client().get_queue_attributes().queue_url(&pair.url);
    let answer = request.attribute_names(QueueAttributeName::RedrivePolicy).send().await.unwrap();
    let policy = answer.attributes.unwrap().remove(&QueueAttributeName::RedrivePolicy).unwrap();
    assert!(policy.contains("user-logins-dead-letter"), "{policy}");
}

#[tokio::test]
async fn a_dropped_queue_answers_nobody() {
    let (queue, _pair) = start().await;
    let address = queue.address();
    tokio::net::TcpStream::connect(address).await.unwrap();
    drop(queue);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
