//! What the checks before the start need to know of a queue.

use std::collections::HashMap;

use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::Value;
use veilpost_runtime::numbers;

use crate::limits::MAX_MESSAGE_BYTES;

/// What a queue says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueueFacts {
    /// Its ARN, or its URL where the queue does not say.
    pub(crate) identity: String,
    pub(crate) is_fifo: bool,
    pub(crate) max_message_bytes: usize,
    pub(crate) redrive: Option<RedrivePolicy>,
    /// The KMS key that encrypts it.
    pub(crate) key: Option<String>,
}

/// Where SQS itself moves messages that have been received too often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RedrivePolicy {
    pub(crate) max_receive_count: u64,
    /// The ARN of the queue that they are moved to.
    pub(crate) target: String,
}

impl QueueFacts {
    pub(crate) fn new(url: &str, attributes: &HashMap<QueueAttributeName, String>) -> Self {
        let text = |name| attributes.get(&name).map(String::as_str);
        let identity = text(QueueAttributeName::QueueArn).unwrap_or(url).to_owned();
        let max_message_bytes =
            text(QueueAttributeName::MaximumMessageSize).and_then(|size| size.parse().ok());
        Self {
            is_fifo: text(QueueAttributeName::FifoQueue) == Some("true") || is_fifo_name(&identity),
            identity,
            max_message_bytes: max_message_bytes.unwrap_or(MAX_MESSAGE_BYTES),
            redrive: text(QueueAttributeName::RedrivePolicy).and_then(redrive_policy),
            key: text(QueueAttributeName::KmsMasterKeyId).filter(|key| !key.is_empty()).map(str::to_owned),
        }
    }
}

impl QueueFacts {
    /// After how many receives SQS moves a message; `None` for never.
    pub(crate) fn max_receives(&self) -> Option<u32> {
        self.redrive.as_ref().map(|redrive| numbers::to_u32(redrive.max_receive_count))
    }
}

/// SQS returns the count as a number or as text, depending on how the policy was set.
fn redrive_policy(policy: &str) -> Option<RedrivePolicy> {
    let policy: Value = serde_json::from_str(policy).ok()?;
    let target = policy.get("deadLetterTargetArn")?.as_str().filter(|arn| !arn.is_empty())?.to_owned();
    let count = policy.get("maxReceiveCount")?;
    let max_receive_count = count.as_u64().or_else(|| count.as_str()?.parse().ok())?;
    Some(RedrivePolicy { max_receive_count, target })
}

/// Whether a queue's name, URL or ARN is that of a FIFO queue. Only their names end in `.fifo`.
pub(crate) fn is_fifo_name(name: &str) -> bool {
    name.trim_end_matches('/').rsplit_once('.').is_some_and(|(_, end)| end == "fifo")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redrive_policys_count_may_be_a_number_or_text() {
        for count in ["3", "\"3\""] {
            let policy = format!(r#"{{"deadLetterTargetArn":"arn","maxReceiveCount":{count}}}"#);
            assert_eq!(
                redrive_policy(&policy),
                Some(RedrivePolicy { max_receive_count: 3, target: "arn".to_owned() })
            );
        }
        assert_eq!(redrive_policy("{}"), None);
        assert_eq!(redrive_policy("nonsense"), None);
    }

    #[test]
    fn a_queue_that_does_not_say_takes_the_largest_messages() {
        assert_eq!(QueueFacts::new("", &HashMap::new()).max_message_bytes, MAX_MESSAGE_BYTES);
        let attributes = HashMap::from([(QueueAttributeName::MaximumMessageSize, "1024".to_owned())]);
        assert_eq!(QueueFacts::new("", &attributes).max_message_bytes, 1024);
    }
}
