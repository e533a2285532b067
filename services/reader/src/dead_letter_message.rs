//! What a rejected message looks like in the dead-letter queue.

use std::collections::HashMap;
use std::fmt;

use aws_sdk_sqs::types::{
    MessageAttributeValue, MessageSystemAttributeNameForSends, MessageSystemAttributeValue,
};
use bytes::Bytes;
use veilpost_reader_core::Rejection;

use crate::attributes::{self, Attributes};
use crate::limits::{MAX_ATTRIBUTES, MAX_MESSAGE_BYTES};
use crate::message::SqsDelivery;

const REASON: &str = "veilpost.reason";
const DETAIL: &str = "veilpost.detail";
const MESSAGE_ID: &str = "veilpost.message-id";
const SENT_TIMESTAMP: &str = "veilpost.sent-timestamp";

/// The body for a message that had none, because SQS takes no empty message. It is not JSON on purpose.
const NO_BODY: &str = "(veilpost: this message had no body)";

/// A rejected message with the reason, ready to be sent to the dead-letter queue.
pub(crate) struct DeadLetterMessage {
    pub(crate) body: String,
    pub(crate) attributes: Attributes,
    pub(crate) system_attributes:
        Option<HashMap<MessageSystemAttributeNameForSends, MessageSystemAttributeValue>>,
}

/// Shows nothing of the message.
impl fmt::Debug for DeadLetterMessage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DeadLetterMessage").finish_non_exhaustive()
    }
}

impl DeadLetterMessage {
    /// The rejected message with its whole body, its own attributes and ours, within `max_bytes`. Also
    /// returns the names of those of its own attributes for which there was no room.
    pub(crate) fn new(
        delivery: &SqsDelivery,
        rejection: &Rejection,
        max_bytes: usize,
    ) -> (Self, Vec<String>) {
        let message = &delivery.message;
        let body = body_text(message.body.as_ref());
        // A body over the limit did come through SQS, so the queue's limit has changed: only SQS's own is
        // left.
        let max_bytes = if body.len() > max_bytes { MAX_MESSAGE_BYTES } else { max_bytes };
        let ours = ours(delivery, rejection);
        let fitted = fit(own(&message.attributes), ours, max_bytes.saturating_sub(body.len()));
        let system_attributes = message.trace_header.as_deref().and_then(trace_header);
        (Self { body, attributes: fitted.attributes, system_attributes }, fitted.dropped)
    }
}

fn body_text(body: Option<&Bytes>) -> String {
    match body {
        Some(body) if !body.is_empty() => String::from_utf8_lossy(body).into_owned(),
        _ => NO_BODY.to_owned(),
    }
}

type NamedAttribute = (String, MessageAttributeValue);

/// The message's own attributes, ordered by name, without those that an earlier rejection added.
fn own(attributes: &Attributes) -> Vec<NamedAttribute> {
    let ours = [REASON, DETAIL, MESSAGE_ID, SENT_TIMESTAMP];
    let own = attributes.iter().filter(|(name, _)| !ours.contains(&name.as_str()));
    let mut own: Vec<_> = own.map(|(name, value)| (name.clone(), value.clone())).collect();
    own.sort_by(|(one, _), (other, _)| one.cmp(other));
    own
}

/// Our attributes, the most important first. A message that came back from the dead-letter queue has a new id
/// and sent time; the original ones are kept.
fn ours(delivery: &SqsDelivery, rejection: &Rejection) -> Vec<NamedAttribute> {
    let message = &delivery.message;
    let original = |name: &str| attributes::text(&message.attributes, name).map(str::to_owned);
    let id = original(MESSAGE_ID).unwrap_or_else(|| delivery.message_id.clone());
    let sent = original(SENT_TIMESTAMP).unwrap_or_else(|| message.sent_timestamp_ms.to_string());
    [
        (REASON, "String", rejection.reason.to_owned()),
        (MESSAGE_ID, "String", id),
        (SENT_TIMESTAMP, "Number", sent),
        (DETAIL, "String", rejection.detail.chars().map(printable).collect()),
    ]
    .into_iter()
    .filter(|(_, _, value)| !value.is_empty())
    .filter_map(|(name, kind, value)| Some((name.to_owned(), attribute(kind, value)?)))
    .collect()
}

fn attribute(kind: &str, value: String) -> Option<MessageAttributeValue> {
    MessageAttributeValue::builder().data_type(kind).string_value(value).build().ok()
}

/// SQS takes only these three control characters, and refuses the two non-characters.
fn printable(character: char) -> char {
    match character {
        '\t' | '\n' | '\r' => character,
        '\u{fffe}' | '\u{ffff}' => '?',
        _ if character.is_control() => '?',
        _ => character,
    }
}

fn trace_header(
    header: &str,
) -> Option<HashMap<MessageSystemAttributeNameForSends, MessageSystemAttributeValue>> {
    let value =
        MessageSystemAttributeValue::builder().data_type("String").string_value(header).build().ok()?;
    Some(HashMap::from([(MessageSystemAttributeNameForSends::AwsTraceHeader, value)]))
}

#[derive(Debug)]
struct Fitted {
    attributes: Attributes,
    dropped: Vec<String>,
}

/// Chooses attributes that take at most `room` bytes, and no more of them than SQS takes. Ours are left out
/// first, except the reason; then the message's own, one by one. The reason is left out only where it alone
/// has no room.
fn fit(mut own: Vec<NamedAttribute>, mut ours: Vec<NamedAttribute>, room: usize) -> Fitted {
    while ours.len() > 1 && !fits(&own, &ours, room) {
        ours.pop();
    }
    if !fits(&[], &ours, room) {
        ours.clear();
    }
    let mut dropped = Vec::new();
    while !fits(&own, &ours, room) {
        let Some(name) = drop_one(&mut own, ours.len()) else { break };
        dropped.push(name);
    }
    Fitted { attributes: own.into_iter().chain(ours).collect(), dropped }
}

fn fits(own: &[NamedAttribute], ours: &[NamedAttribute], room: usize) -> bool {
    let all = own.iter().chain(ours).map(|(name, value)| (name, value));
    own.len() + ours.len() <= MAX_ATTRIBUTES && attributes::total_bytes(all) <= room
}

/// Removes the last attribute by name where there are too many, and the largest where they are too large.
fn drop_one(own: &mut Vec<NamedAttribute>, ours: usize) -> Option<String> {
    if own.len() + ours > MAX_ATTRIBUTES {
        return own.pop().map(|(name, _)| name);
    }
    let largest = own.iter().enumerate().max_by_key(|(_, (name, value))| attributes::bytes(name, value));
    let index = largest.map(|(index, _)| index)?;
    Some(own.remove(index).0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::testing::delivered;
    use aws_sdk_sqs::types::Message;
    use proptest::prelude::*;

    fn rejection() -> Rejection {
        Rejection { reason: "text-too-long", detail: "locale: longer than 32 characters".to_owned() }
    }

    fn delivery(body: Option<&str>, attributes: &[(&str, &str)]) -> SqsDelivery {
        let message = attributes.iter().fold(
            Message::builder().message_id("m-1").receipt_handle("h").set_body(body.map(str::to_owned)),
            |message, (name, value)| {
                message.message_attributes(*name, attribute("String", (*value).to_owned()).unwrap())
            },
        );
        let mut delivery = delivered(message.build());
        delivery.message.sent_timestamp_ms = 1_700_000_000_000;
        delivery
    }

    fn value<'a>(sent: &'a DeadLetterMessage, name: &str) -> Option<&'a str> {
        attributes::text(&sent.attributes, name)
    }

    fn total(sent: &DeadLetterMessage) -> usize {
        sent.body.len() + attributes::total_bytes(&sent.attributes)
    }

    #[test]
    fn a_dead_letter_has_the_body_its_own_attributes_and_ours() {
        let (sent, dropped) = DeadLetterMessage::new(
            &delivery(Some("{"), &[("colour", "blue")]),
            &rejection(),
            MAX_MESSAGE_BYTES,
        );
        assert_eq!(sent.body, "{");
        assert_eq!(value(&sent, "colour"), Some("blue"));
        assert_eq!(value(&sent, REASON), Some("text-too-long"));
        assert_eq!(value(&sent, DETAIL), Some("locale: longer than 32 characters"));
        assert_eq!(value(&sent, MESSAGE_ID), Some("m-1"));
        assert_eq!(value(&sent, SENT_TIMESTAMP), Some("1700000000000"));
        assert!(dropped.is_empty());
    }

    #[test]
    fn a_redriven_message_keeps_its_original_id_and_sent_time_but_gets_the_new_reason() {
        let before =
            [(MESSAGE_ID, "m-0"), (SENT_TIMESTAMP, "1600000000000"), (REASON, "not-json"), (DETAIL, "old")];
        let (sent, _) =
            DeadLetterMessage::new(&delivery(Some("{"), &before), &rejection(), MAX_MESSAGE_BYTES);
        assert_eq!(value(&sent, MESSAGE_ID), Some("m-0"));
        assert_eq!(value(&sent, SENT_TIMESTAMP), Some("1600000000000"));
        assert_eq!(value(&sent, REASON), Some("text-too-long"));
        assert_eq!(sent.attributes.len(), 4);
    }

    #[test]
    fn a_missing_body_is_replaced_by_one_that_says_so_and_is_not_json() {
        for body in [None, Some("")] {
            let (sent, _) = DeadLetterMessage::new(&delivery(body, &[]), &rejection(), MAX_MESSAGE_BYTES);
            assert!(sent.body.contains("no body"));
            assert!(serde_json::from_str::<serde_json::Value>(&sent.body).is_err());
        }
    }

    #[test]
    fn with_nine_attributes_of_its_own_only_the_reason_is_added() {
        let names: Vec<String> = (0..9).map(|n| format!("a{n}")).collect();
        let own: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
        let (sent, dropped) =
            DeadLetterMessage::new(&delivery(Some("{"), &own), &rejection(), MAX_MESSAGE_BYTES);
        assert_eq!(sent.attributes.len(), 10);
        assert_eq!(value(&sent, REASON), Some("text-too-long"));
        assert!(dropped.is_empty());
    }

    #[test]
    fn with_ten_attributes_of_its_own_the_last_by_name_is_dropped_for_the_reason() {
        let names: Vec<String> = (0..10).map(|n| format!("a{n}")).collect();
        let own: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
        let (sent, dropped) =
            DeadLetterMessage::new(&delivery(Some("{"), &own), &rejection(), MAX_MESSAGE_BYTES);
        assert_eq!(dropped, ["a9"]);
        assert_eq!(value(&sent, REASON), Some("text-too-long"));
    }

    #[test]
    fn a_body_that_fills_the_limit_goes_whole_and_without_our_attributes() {
        let body = "x".repeat(MAX_MESSAGE_BYTES);
        let (sent, _) = DeadLetterMessage::new(&delivery(Some(&body), &[]), &rejection(), MAX_MESSAGE_BYTES);
        assert_eq!(total(&sent), MAX_MESSAGE_BYTES);
        assert!(sent.attributes.is_empty());
    }

    #[test]
    fn the_x_ray_header_is_passed_on() {
        let mut delivery = delivery(Some("{"), &[]);
        delivery.message.trace_header = Some("Root=1-x".to_owned());
        let (sent, _) = DeadLetterMessage::new(&delivery, &rejection(), MAX_MESSAGE_BYTES);
        let system = sent.system_attributes.unwrap();
        let header = system.get(&MessageSystemAttributeNameForSends::AwsTraceHeader).unwrap();
        assert_eq!(header.string_value.as_deref(), Some("Root=1-x"));
    }

    #[test]
    fn debug_shows_nothing_of_the_message() {
        let (sent, _) = DeadLetterMessage::new(
            &delivery(Some("very-secret"), &[("colour", "very-secret")]),
            &rejection(),
            1000,
        );
        assert!(!format!("{sent:?}").contains("very-secret"));
    }

    proptest! {
        #[test]
        fn the_body_stays_whole_the_limits_hold_and_the_reason_stays_if_room_can_be_made(
            body in 1usize..1000,
            own in prop::collection::btree_map("[a-z]{1,8}|veilpost\\.(reason|detail|message-id)", 1usize..300, 0..=10),
            limit in 1000usize..1400,
        ) {
            let text = "x".repeat(body);
            let values: Vec<_> = own.iter().map(|(name, length)| (name.as_str(), "v".repeat(*length))).collect();
            let pairs: Vec<_> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let (sent, dropped) = DeadLetterMessage::new(&delivery(Some(&text), &pairs), &rejection(), limit);
            let reason = attribute("String", "text-too-long".to_owned()).unwrap();
            let room = body + attributes::bytes(REASON, &reason) <= limit;
            prop_assert_eq!(&sent.body, &text);
            prop_assert!(sent.attributes.len() <= MAX_ATTRIBUTES);
            prop_assert!(total(&sent) <= limit.max(body));
            prop_assert_eq!(value(&sent, REASON) == Some("text-too-long"), room);
            let some_dropped = !dropped.is_empty();
            prop_assert!(!(some_dropped && sent.attributes.contains_key(DETAIL)), "ours are left out first");
        }
    }
}
