//! Sends: what is accepted, and what arrives.

use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    MessageAttributeValue, MessageSystemAttributeName, MessageSystemAttributeNameForSends,
    MessageSystemAttributeValue, SendMessageBatchRequestEntry,
};

use super::{Sqs, code, system};

const MIB: usize = 1_048_576;

const TRACE: &str = "Root=1-5759e988-bd862e3fe1be46a994272793";

fn text(value: &str) -> MessageAttributeValue {
    MessageAttributeValue::builder().data_type("String").string_value(value).build().unwrap()
}

fn entry(id: &str, body: &str) -> SendMessageBatchRequestEntry {
    SendMessageBatchRequestEntry::builder().id(id).message_body(body).build().unwrap()
}

/// The digests were computed with Python's hashlib.
#[tokio::test]
async fn attributes_of_each_type_arrive_with_the_digests_that_sdks_compare() {
    let sqs = Sqs::start().await;
    let raw = MessageAttributeValue::builder().data_type("Binary").binary_value(Blob::new([0, 1, 255]));
    let trace = MessageSystemAttributeValue::builder().data_type("String").string_value(TRACE);
    let call = sqs.client.send_message().queue_url(sqs.url()).message_body("hello");
    let call = call.message_attributes("tenant", text("acme"));
    let call = call.message_attributes("raw", raw.build().unwrap());
    let name = MessageSystemAttributeNameForSends::AwsTraceHeader;
    let sent = call.message_system_attributes(name, trace.build().unwrap()).send().await.unwrap();
    assert_eq!(sent.md5_of_message_body.as_deref(), Some("5d41402abc4b2a76b9719d911017c592"));
    assert_eq!(sent.md5_of_message_attributes.as_deref(), Some("5409dbe0d76419cce935fce01cd13dde"));
    assert_eq!(sent.md5_of_message_system_attributes.as_deref(), Some("62a56dd927315f2b2e12832b84617ea5"));

    let message = sqs.receive_one(0).await;
    assert_eq!(message.body.as_deref(), Some("hello"));
    assert_eq!(
        (message.md5_of_body, message.md5_of_message_attributes),
        (sent.md5_of_message_body.clone(), sent.md5_of_message_attributes.clone())
    );
    assert_eq!(system(&sqs.receive_one(0).await)[&MessageSystemAttributeName::AwsTraceHeader], TRACE);
    let attributes = message.message_attributes.unwrap();
    assert_eq!(attributes["tenant"].string_value(), Some("acme"));
    assert_eq!(attributes["raw"].binary_value().unwrap().as_ref(), [0, 1, 255]);
}

#[tokio::test]
async fn the_digest_of_a_receive_is_of_the_attributes_that_it_asks_for() {
    let sqs = Sqs::start().await;
    let call = sqs.client.send_message().queue_url(sqs.url()).message_body("hello");
    let call = call.message_attributes("tenant", text("acme")).message_attributes("b.c", text("x"));
    call.send().await.unwrap();
    let call = sqs.client.receive_message().queue_url(sqs.url()).message_attribute_names("ten.*");
    let call = call.message_attribute_names("tenant").send().await.unwrap();
    let message = call.messages.unwrap().pop().unwrap();
    assert_eq!(message.message_attributes.unwrap().len(), 1);
    assert_eq!(message.md5_of_message_attributes.as_deref(), Some("c52f727da6769fcbc66f3f8555ce234a"));
}

#[tokio::test]
async fn a_mebibyte_is_accepted_and_one_byte_more_is_not() {
    let sqs = Sqs::start().await;
    let send = |body: String| sqs.client.send_message().queue_url(sqs.url()).message_body(body).send();
    send("\"".repeat(MIB)).await.unwrap();
    assert_eq!(code(send("x".repeat(MIB + 1)).await), "InvalidParameterValue");
    let call = sqs.client.send_message().queue_url(sqs.url()).message_body("x".repeat(MIB - 5));
    assert_eq!(code(call.message_attributes("a", text("b")).send().await), "InvalidParameterValue");
    assert_eq!(sqs.receive_one(0).await.body.map(|body| body.len()), Some(MIB));

    let batch = sqs.client.send_message_batch().queue_url(sqs.url());
    let batch = batch.entries(entry("0", &"x".repeat(MIB))).entries(entry("1", "x"));
    assert_eq!(code(batch.send().await), "BatchRequestTooLong");
}

#[tokio::test]
async fn entries_of_a_batch_fail_one_by_one_and_a_bad_batch_fails_as_a_whole() {
    let sqs = Sqs::start().await;
    let call = || sqs.client.send_message_batch().queue_url(sqs.url());
    let late = SendMessageBatchRequestEntry::builder().id("late").message_body("x").delay_seconds(901);
    let answer = call()
        .entries(entry("good", "x"))
        .entries(entry("odd", "\u{b}"))
        .entries(late.build().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.successful.iter().map(|done| done.id.as_str()).collect::<Vec<_>>(), ["good"]);
    let failed = answer.failed.iter().map(|failed| (failed.id.as_str(), failed.code.as_str()));
    let expected = [("odd", "InvalidMessageContents"), ("late", "InvalidParameterValue")];
    assert_eq!(failed.collect::<Vec<_>>(), expected);
    assert_eq!(sqs.counts(sqs.url()).await, [1, 0, 0]);

    let many = (0..11).map(|id| entry(&id.to_string(), "x")).collect();
    assert_eq!(code(call().set_entries(Some(many)).send().await), "TooManyEntriesInBatchRequest");
    assert_eq!(code(call().set_entries(Some(Vec::new())).send().await), "EmptyBatchRequest");
    assert_eq!(code(call().entries(entry("a b", "x")).send().await), "InvalidBatchEntryId");
}

#[tokio::test]
async fn a_delayed_message_is_counted_as_delayed_and_comes_when_its_delay_is_over() {
    let sqs = Sqs::start().await;
    let call = sqs.client.send_message().queue_url(sqs.url()).message_body("x");
    call.delay_seconds(1).send().await.unwrap();
    assert_eq!(sqs.counts(sqs.url()).await, [0, 0, 1]);
    assert_eq!(sqs.receive_one(0).await.body.as_deref(), Some("x"));
}

#[tokio::test]
async fn ten_attributes_are_accepted_and_eleven_are_not() {
    let sqs = Sqs::start().await;
    let call = |count: u32| {
        (0..count).fold(sqs.client.send_message().queue_url(sqs.url()).message_body("x"), |call, number| {
            call.message_attributes(format!("a{number}"), text("b"))
        })
    };
    call(10).send().await.unwrap();
    assert_eq!(code(call(11).send().await), "InvalidParameterValue");
}
