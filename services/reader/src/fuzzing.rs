//! What holds for any message that may come, as functions for the fuzzer and the tests.

use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName as System};
use veilpost_reader_core::Rejection;

use crate::dead_letter_message::DeadLetterMessage;
use crate::limits::{MAX_ATTRIBUTES, MAX_MESSAGE_BYTES};
use crate::message::{self, testing::delivered};

/// The names of the attributes: those that mean something to the reader, and others.
const NAMES: [&str; 8] = [
    "traceparent",
    "tracestate",
    "veilpost.message-id",
    "veilpost.sent-timestamp",
    "veilpost.reason",
    "a",
    "b",
    "c",
];

/// Checks that any message becomes a record and a dead letter within SQS's limits. Every part is the
/// producer's choice.
pub fn message(body: &str, parts: &[&str]) {
    let part = |index: usize| parts.get(index).copied().unwrap_or_default();
    let mut message = Message::builder()
        .message_id(part(0))
        .receipt_handle("h")
        .body(body)
        .attributes(System::SentTimestamp, part(1))
        .attributes(System::ApproximateReceiveCount, part(2))
        .attributes(System::AwsTraceHeader, part(3));
    for (name, value) in NAMES.iter().zip(parts) {
        if let Ok(value) = MessageAttributeValue::builder().data_type("String").string_value(*value).build() {
            message = message.message_attributes(*name, value);
        }
    }
    let delivery = delivered(message.build());
    let context = message::record(&delivery.message_id, &delivery.message).producer;
    if let Some(context) = context {
        assert!(context.traceparent.len() == 55 && context.traceparent.is_ascii(), "no traceparent");
        assert!(context.tracestate.len() <= 512 && context.tracestate.is_ascii(), "no tracestate");
    }
    let rejection = Rejection { reason: "not-json", detail: part(4).to_owned() };
    let (sent, _) = DeadLetterMessage::new(&delivery, &rejection, MAX_MESSAGE_BYTES);
    assert!(sent.attributes.len() <= MAX_ATTRIBUTES, "more attributes than SQS takes");
    assert!(body.is_empty() || sent.body == body, "the body stays whole");
    let values = sent.attributes.values().filter_map(|value| value.string_value.as_ref());
    let size = values.map(String::len).sum::<usize>() + sent.body.len();
    assert!(size <= MAX_MESSAGE_BYTES.max(body.len()), "larger than SQS takes");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_message_becomes_a_record_and_a_dead_letter(
            body: String,
            parts in prop::collection::vec(
                prop_oneof![
                    any::<String>(),
                    "[0-9]{1,25}",
                    "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.{0,4})?",
                    "Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=[01?]",
                ],
                0..9,
            ),
        ) {
            let parts: Vec<_> = parts.iter().map(String::as_str).collect();
            message(&body, &parts);
        }
    }
}
