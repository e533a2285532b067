//! The messages that are sent: plain logins, every odd shape, poison for every reason, and large bodies; and
//! the outcome that each must have.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Value, json};
use veilpost_local::events::{SampleEvents, Shape};
use veilpost_testkit::BODILESS;

/// The number of odd events in a million; half of them are rejected.
const ODD_PER_MILLION: u64 = 250_000;

/// One message in this many has a shape that the sample events do not have.
const OWN_EVERY: u64 = 8;

/// The dead letter of a message without a body has this one.
const NO_BODY: &str = "(veilpost: this message had no body)";

const LARGE: usize = 150_000;

/// Close to the largest message that SQS takes.
const LARGEST: usize = 950_000;

/// A reproducible sequence of messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageMix {
    events: SampleEvents,
}

/// One message.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) body: String,
    pub(crate) expected: Expected,
}

/// The outcome that a message must have under the harness's policy and table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    /// The reason for its rejection; none when it must be a row.
    pub(crate) reason: Option<&'static str>,
    /// The clear text whose digests the row must have.
    pub(crate) ip: Option<String>,
    pub(crate) device_id: Option<String>,
    /// Of the body that a dead letter must have.
    pub(crate) fingerprint: u64,
}

impl MessageMix {
    pub(crate) fn new(seed: u64) -> Self {
        Self { events: SampleEvents::new(seed, ODD_PER_MILLION) }
    }

    pub(crate) fn message(self, number: u64) -> Message {
        if number % OWN_EVERY == 3 {
            return own(number);
        }
        let event = self.events.event(number);
        let reason = match event.shape {
            Shape::EmptyObject | Shape::OtherMessageType => Some("unknown-record"),
            _ => event.expected_outcome.reason(),
        };
        message(event.body, reason)
    }
}

/// The shapes of our own, in turn.
fn own(number: u64) -> Message {
    let mut login = Value::Object(serde_json::Map::from_iter([
        ("user_id".to_owned(), json!(format!("own-{number}"))),
        ("ip".to_owned(), json!(format!("10.1.{}.{}", number / 250 % 250, number % 250))),
        ("device_id".to_owned(), json!(format!("device-{number}"))),
    ]));
    let mut set = |name: &str, value: Value| {
        if let Some(fields) = login.as_object_mut() {
            fields.insert(name.to_owned(), value);
        }
    };
    let reason = match number / OWN_EVERY % 12 {
        0 => return message(BODILESS.to_owned(), Some("no-body")),
        1 => return message(json!({ "unknown": number }).to_string(), Some("unknown-record")),
        2 => {
            set("network", json!("no address"));
            Some("invalid-value")
        }
        3 => {
            set("user_id", json!("poison"));
            Some("constraint")
        }
        4 => {
            set("amount", json!(123_456_789_012_u64));
            Some("out-of-range")
        }
        5 => {
            set("born", json!("2023-02-30"));
            Some("out-of-range")
        }
        6 => {
            set("network", json!(format!("2001:db8::{:x}/64", number % 65_536)));
            None
        }
        7 => {
            set("extra", json!({ "tags": [1, 2.5, null, "ж"], "deep": { "er": number } }));
            None
        }
        8 => {
            set("amount", json!(12.5));
            set("born", json!("2024-02-29"));
            None
        }
        9 => {
            set("padding", json!("x".repeat(LARGEST)));
            None
        }
        10 => {
            set("padding", json!("é".repeat(LARGE / 2)));
            None
        }
        _ => {
            set("locale", json!("y".repeat(LARGE)));
            Some("text-too-long")
        }
    };
    message(login.to_string(), reason)
}

pub(crate) fn message(body: String, reason: Option<&'static str>) -> Message {
    let parsed: Value = serde_json::from_str(&body).unwrap_or_default();
    let text = |name: &str| parsed.get(name).and_then(Value::as_str).map(str::to_owned);
    let (ip, device_id) = if reason.is_none() { (text("ip"), text("device_id")) } else { (None, None) };
    let fingerprint = fingerprint(if body == BODILESS { NO_BODY } else { &body });
    Message { body, expected: Expected { reason, ip, device_id, fingerprint } }
}

/// Tells bodies apart within this process.
pub(crate) fn fingerprint(body: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_thousand_messages_have_every_reason_and_are_mostly_stored() {
        let messages: Vec<_> = (0..1000).map(|number| MessageMix::new(4).message(number)).collect();
        let reasons: BTreeSet<_> = messages.iter().filter_map(|message| message.expected.reason).collect();
        assert_eq!(
            reasons.into_iter().collect::<Vec<_>>(),
            [
                "constraint",
                "invalid-value",
                "no-body",
                "not-a-scalar",
                "not-an-object",
                "not-json",
                "nul-in-text",
                "out-of-range",
                "text-too-long",
                "unknown-record"
            ]
        );
        let stored = messages.iter().filter(|message| message.expected.reason.is_none()).count();
        assert!((700..900).contains(&stored), "{stored}");
    }

    #[test]
    fn no_message_is_larger_than_sqs_accepts() {
        assert!((0..200).all(|number| MessageMix::new(1).message(number).body.len() < 1024 * 1024));
    }
}
