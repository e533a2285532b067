//! Queues: made, found, changed, emptied and deleted.

use std::net::{SocketAddr, TcpListener};

use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::types::QueueAttributeName as Name;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use veilpost_local::queue::EmbeddedQueue;

use super::{Sqs, code};

/// A port of this machine that nobody listens on.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The whole answer to an HTTP request.
async fn answer(address: SocketAddr, request: &str) -> String {
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Connects as soon as somebody listens, which a client that pauses between its tries would miss.
async fn first_answer(address: SocketAddr, request: &str) -> String {
    loop {
        match TcpStream::connect(address).await {
            Ok(_) => return answer(address, request).await,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

#[tokio::test]
async fn whoever_reaches_a_new_server_finds_its_queues() {
    const FIND: &str = "POST / HTTP/1.1\r\nHost: q\r\nConnection: close\r\nContent-Length: 22\r\n\
                        X-Amz-Target: AmazonSQS.GetQueueUrl\r\n\r\n{\"QueueName\":\"logins\"}";
    for _ in 0..10 {
        let address = free_address();
        let mut looking = JoinSet::new();
        looking.spawn(first_answer(address, FIND));
        let started = EmbeddedQueue::start_with(address, "logins", "letters").await.unwrap();
        let found = looking.join_next().await.unwrap().unwrap();
        assert!(found.starts_with("HTTP/1.1 200"), "{found}");
        drop(started);
    }
}

#[tokio::test]
async fn health_is_good_once_there_is_a_queue() {
    let queue = EmbeddedQueue::start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let health = || answer(queue.address(), "GET /health HTTP/1.1\r\nHost: q\r\nConnection: close\r\n\r\n");
    assert!(health().await.starts_with("HTTP/1.1 503"));
    queue.client().create_queue().queue_name("any").send().await.unwrap();
    assert!(health().await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_queue_is_created_once_and_differing_attributes_are_refused() {
    let sqs = Sqs::start().await;
    let create = |seconds: &str| {
        let call = sqs.client.create_queue().queue_name("more");
        call.attributes(Name::VisibilityTimeout, seconds).send()
    };
    let url = create("7").await.unwrap().queue_url;
    assert_eq!(create("7").await.unwrap().queue_url, url);
    assert_eq!(sqs.client.create_queue().queue_name("more").send().await.unwrap().queue_url, url);
    assert_eq!(code(create("8").await), "QueueAlreadyExists");
    assert_eq!(code(create("43201").await), "InvalidAttributeValue");
    assert_eq!(code(sqs.client.create_queue().queue_name("a.b").send().await), "InvalidParameterValue");

    let listed = sqs.client.list_queues().queue_name_prefix("mo").send().await.unwrap();
    assert_eq!(listed.queue_urls, Some(vec![url.unwrap()]));
    let page = sqs.client.list_queues().max_results(2).send().await.unwrap();
    assert_eq!(page.queue_urls().len(), 2);
    let rest = sqs.client.list_queues().max_results(2).next_token(page.next_token.unwrap());
    let rest = rest.send().await.unwrap();
    assert_eq!((rest.queue_urls().len(), rest.next_token), (1, None));
}

#[tokio::test]
async fn attributes_have_the_defaults_of_sqs_and_can_be_changed() {
    let sqs = Sqs::start().await;
    let letters = sqs.pair.dead_letter_url.as_str();
    for (name, value) in [
        (Name::VisibilityTimeout, "30"),
        (Name::MessageRetentionPeriod, "345600"),
        (Name::MaximumMessageSize, "1048576"),
        (Name::DelaySeconds, "0"),
        (Name::ReceiveMessageWaitTimeSeconds, "0"),
        (Name::QueueArn, "arn:aws:sqs:us-east-1:000000000000:letters"),
    ] {
        assert_eq!(sqs.attribute(letters, name).await, value);
    }
    let set = |name, value: &str| {
        sqs.client.set_queue_attributes().queue_url(letters).attributes(name, value).send()
    };
    set(Name::MaximumMessageSize, "1024").await.unwrap();
    assert_eq!(sqs.attribute(letters, Name::MaximumMessageSize).await, "1024");
    let send = sqs.client.send_message().queue_url(letters).message_body("x".repeat(1_025));
    assert_eq!(code(send.send().await), "InvalidParameterValue");
    let policy = r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:none","maxReceiveCount":1}"#;
    assert_eq!(code(set(Name::RedrivePolicy, policy).await), "InvalidParameterValue");
    assert_eq!(code(set(Name::QueueArn, "x").await), "InvalidAttributeName");
}

#[tokio::test]
async fn a_purged_queue_is_empty_and_a_deleted_one_is_gone_for_a_minute() {
    let sqs = Sqs::start().await;
    sqs.send("a").await;
    sqs.send("b").await;
    sqs.receive_one(30).await;
    let purge = || sqs.client.purge_queue().queue_url(sqs.url()).send();
    purge().await.unwrap();
    assert_eq!(sqs.counts(sqs.url()).await, [0, 0, 0]);
    assert_eq!(code(purge().await), "PurgeQueueInProgress");

    sqs.client.delete_queue().queue_url(sqs.url()).send().await.unwrap();
    let send = sqs.client.send_message().queue_url(sqs.url()).message_body("x");
    assert_eq!(code(send.send().await), "NonExistentQueue");
    assert_eq!(code(sqs.client.create_queue().queue_name("logins").send().await), "QueueDeletedRecently");
}

#[tokio::test]
async fn what_is_not_supported_says_so() {
    let sqs = Sqs::start().await;
    let tag = sqs.client.tag_queue().queue_url(sqs.url()).tags("a", "b").send().await.unwrap_err();
    assert!(tag.message().unwrap().contains("TagQueue"), "{tag:?}");
    assert_eq!(code(Err::<(), _>(tag)), "UnsupportedOperation");
    let fifo = sqs.client.create_queue().queue_name("in-order.fifo").attributes(Name::FifoQueue, "true");
    let fifo = fifo.send().await.unwrap().queue_url.unwrap();
    let send = sqs.client.send_message().queue_url(fifo).message_body("x").message_group_id("g");
    assert_eq!(code(send.send().await), "UnsupportedOperation");

    let old =
        "POST / HTTP/1.1\r\nHost: q\r\nConnection: close\r\nContent-Length: 17\r\n\r\nAction=ListQueues";
    let answer = answer(sqs.queue.address(), old).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("X-Amz-Target"), "{answer}");
}

#[tokio::test]
async fn a_call_that_is_too_long_is_refused() {
    let sqs = Sqs::start().await;
    let body = "x".repeat(8 * 1_048_576 + 1);
    let call = format!(
        "POST / HTTP/1.1\r\nHost: q\r\nX-Amz-Target: AmazonSQS.SendMessage\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut connection = TcpStream::connect(sqs.queue.address()).await.unwrap();
    connection.write_all(call.as_bytes()).await.unwrap();
    connection.write_all(body.as_bytes()).await.unwrap();
    let mut begin = [0; 12];
    connection.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 413");
}
