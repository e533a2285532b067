//! A queue's attributes that can be set.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::Millis;
use super::error::{Code, SqsError};

/// In seconds.
pub(in crate::queue) const MAX_VISIBILITY_TIMEOUT: u64 = 43_200;

/// A numeric attribute: its name, its default, and the range that it may be set to.
struct Number {
    name: &'static str,
    default: u64,
    least: u64,
    most: u64,
}

const DELAY: Number = Number { name: "DelaySeconds", default: 0, least: 0, most: 900 };
const SIZE: Number = Number { name: "MaximumMessageSize", default: 1_048_576, least: 1_024, most: 1_048_576 };
const RETENTION: Number =
    Number { name: "MessageRetentionPeriod", default: 345_600, least: 60, most: 1_209_600 };
const WAIT: Number = Number { name: "ReceiveMessageWaitTimeSeconds", default: 0, least: 0, most: 20 };
const VISIBILITY: Number =
    Number { name: "VisibilityTimeout", default: 30, least: 0, most: MAX_VISIBILITY_TIMEOUT };
const NUMBERS: [Number; 5] = [DELAY, SIZE, RETENTION, WAIT, VISIBILITY];

/// Attributes that are kept and shown, and change nothing here.
const KEPT: [&str; 6] = [
    "FifoQueue",
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "Policy",
    "RedriveAllowPolicy",
    "SqsManagedSseEnabled",
];

pub(super) const REDRIVE_POLICY: &str = "RedrivePolicy";

/// What a queue is set to. Texts are kept by attribute name, as they are shown.
#[derive(Clone)]
pub(in crate::queue) struct QueueSettings {
    texts: BTreeMap<&'static str, String>,
    numbers: BTreeMap<&'static str, u64>,
    pub(super) redrive: Option<RedrivePolicy>,
}

/// Where messages go that have been received too often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RedrivePolicy {
    pub(super) target_arn: String,
    pub(super) max_receives: u32,
}

/// SQS takes the count as a number or as a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Count {
    Number(u32),
    Text(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WirePolicy {
    dead_letter_target_arn: String,
    max_receive_count: Count,
}

impl Default for QueueSettings {
    fn default() -> Self {
        let numbers = NUMBERS.iter().map(|number| (number.name, number.default)).collect();
        let texts = BTreeMap::from([("SqsManagedSseEnabled", "true".to_owned())]);
        Self { texts, numbers, redrive: None }
    }
}

impl QueueSettings {
    /// Sets one attribute. An empty text removes one that is not a number.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), SqsError> {
        if let Some(number) = NUMBERS.iter().find(|number| number.name == name) {
            self.numbers.insert(number.name, number.parse(value)?);
        } else if name == REDRIVE_POLICY {
            self.redrive = RedrivePolicy::parse(value)?;
        } else if let Some(&name) = KEPT.iter().find(|kept| **kept == name) {
            self.keep(name, value);
        } else {
            return Err(SqsError::new(Code::InvalidAttributeName, format!("Unknown Attribute {name}.")));
        }
        Ok(())
    }

    fn keep(&mut self, name: &'static str, value: &str) {
        if value.is_empty() {
            self.texts.remove(name);
        } else {
            self.texts.insert(name, value.to_owned());
        }
    }

    /// All attributes that are set, as they are shown.
    pub(super) fn shown(&self) -> BTreeMap<String, String> {
        let numbers = self.numbers.iter().map(|(name, value)| ((*name).to_owned(), value.to_string()));
        let texts = self.texts.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let redrive = self.redrive.iter().map(|policy| (REDRIVE_POLICY.to_owned(), policy.shown()));
        numbers.chain(texts).chain(redrive).collect()
    }

    pub(super) fn is_known(name: &str) -> bool {
        name == REDRIVE_POLICY || KEPT.contains(&name) || NUMBERS.iter().any(|number| number.name == name)
    }

    pub(super) fn is_fifo(&self) -> bool {
        self.texts.get("FifoQueue").is_some_and(|value| value == "true")
    }

    pub(super) fn delay_millis(&self) -> Millis {
        self.number(&DELAY) * 1000
    }

    pub(super) fn retention_millis(&self) -> Millis {
        self.number(&RETENTION) * 1000
    }

    pub(super) fn visibility_millis(&self) -> Millis {
        self.number(&VISIBILITY) * 1000
    }

    pub(super) fn wait_millis(&self) -> Millis {
        self.number(&WAIT) * 1000
    }

    /// In bytes.
    pub(super) fn max_message_size(&self) -> u64 {
        self.number(&SIZE)
    }

    fn number(&self, number: &Number) -> u64 {
        self.numbers.get(number.name).copied().unwrap_or(number.default)
    }
}

impl Number {
    fn parse(&self, value: &str) -> Result<u64, SqsError> {
        let parsed = value.parse().ok().filter(|value| (self.least..=self.most).contains(value));
        parsed.ok_or_else(|| invalid(self.name))
    }
}

impl RedrivePolicy {
    fn parse(text: &str) -> Result<Option<Self>, SqsError> {
        if text.is_empty() {
            return Ok(None);
        }
        let wire: WirePolicy = serde_json::from_str(text).map_err(|_| invalid(REDRIVE_POLICY))?;
        let count = match wire.max_receive_count {
            Count::Number(count) => Some(count),
            Count::Text(text) => text.parse().ok(),
        };
        let max_receives = count.filter(|count| (1..=1_000).contains(count));
        let max_receives = max_receives.ok_or_else(|| invalid(REDRIVE_POLICY))?;
        Ok(Some(Self { target_arn: wire.dead_letter_target_arn, max_receives }))
    }

    fn shown(&self) -> String {
        json!({ "deadLetterTargetArn": self.target_arn, "maxReceiveCount": self.max_receives }).to_string()
    }
}

fn invalid(name: &str) -> SqsError {
    SqsError::new(Code::InvalidAttributeValue, format!("Invalid value for the parameter {name}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_to_their_ranges() {
        let mut settings = QueueSettings::default();
        settings.set("VisibilityTimeout", "43200").unwrap();
        settings.set("DelaySeconds", "0").unwrap();
        for (name, value) in [
            ("VisibilityTimeout", "43201"),
            ("DelaySeconds", "-1"),
            ("DelaySeconds", "901"),
            ("MessageRetentionPeriod", "59"),
            ("MaximumMessageSize", "1048577"),
            ("ReceiveMessageWaitTimeSeconds", "21"),
            ("ReceiveMessageWaitTimeSeconds", "many"),
        ] {
            assert_eq!(settings.set(name, value).unwrap_err().code, Code::InvalidAttributeValue, "{name}");
        }
        assert_eq!(settings.set("Colour", "red").unwrap_err().code, Code::InvalidAttributeName);
        assert_eq!(settings.visibility_millis(), 43_200_000);
    }

    #[test]
    fn a_redrive_policy_takes_its_count_as_number_and_as_text() {
        let parse = |count: &str| {
            RedrivePolicy::parse(&format!(r#"{{"deadLetterTargetArn":"a:b","maxReceiveCount":{count}}}"#))
        };
        assert_eq!(parse("3").unwrap().unwrap().max_receives, 3);
        assert_eq!(parse("\"1000\"").unwrap().unwrap().max_receives, 1_000);
        assert_eq!(RedrivePolicy::parse("").unwrap(), None);
        for wrong in ["0", "1001", "\"x\"", "null"] {
            assert_eq!(parse(wrong).unwrap_err().code, Code::InvalidAttributeValue, "{wrong}");
        }
    }
}
