//! The messages that a test sends and finds in the queues.

use std::time::{Duration, Instant};

use anyhow::Context;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry,
};

use crate::{Stack, eventually};

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A message in the dead-letter queue.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    pub body: String,
    pub reason: String,
    pub detail: String,
    pub message_id: String,
    pub sent_timestamp: String,
    pub attributes: Vec<String>,
}

/// How long a queue may get no shorter before waiting for its end is given up.
#[derive(Clone, Copy, Debug)]
pub struct Standstill {
    /// While messages wait all the time.
    pub waiting: Duration,
    /// While all that is left is hidden now and then: longer.
    pub hidden: Duration,
}

impl Stack {
    /// Sends one message and returns its id.
    pub async fn send(&self, body: &str) -> anyhow::Result<String> {
        self.send_with(body, &[]).await
    }

    pub async fn send_with(&self, body: &str, attributes: &[(&str, &str)]) -> anyhow::Result<String> {
        let mut request = self.sqs.send_message().queue_url(&self.pair.url).message_body(body);
        for (name, value) in attributes {
            let value = MessageAttributeValue::builder().data_type("String").string_value(*value).build()?;
            request = request.message_attributes(*name, value);
        }
        let sent = request.send().await?;
        sent.message_id.context("the queue gave no message id")
    }

    /// Sends `count` plain login events whose user ids are `prefix` and a number.
    pub async fn send_logins(&self, prefix: &str, count: usize) -> anyhow::Result<()> {
        for first in (0..count).step_by(10) {
            let bodies = (first..count.min(first + 10)).map(|number| login(&format!("{prefix}{number}")));
            send_batch(&self.sqs, &self.pair.url, &bodies.collect::<Vec<_>>()).await?;
        }
        Ok(())
    }

    /// Messages in a queue: waiting, and hidden because they were received.
    pub async fn depth(&self, url: &str) -> anyhow::Result<(i64, i64)> {
        let (waiting, hidden) = (
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        );
        let request = self.sqs.get_queue_attributes().queue_url(url);
        let answer = request.attribute_names(waiting.clone()).attribute_names(hidden.clone()).send().await?;
        let attributes = answer.attributes.unwrap_or_default();
        let number = |name| attributes.get(name).and_then(|text| text.parse().ok()).unwrap_or(-1);
        Ok((number(&waiting), number(&hidden)))
    }

    /// Waits until no message is in the queue, waiting or hidden.
    pub async fn queue_is_empty(&self) -> anyhow::Result<()> {
        let ask = async || match self.depth(&self.pair.url).await {
            Ok((0, 0)) => Ok(()),
            other => Err(format!("(waiting, hidden) is {other:?}")),
        };
        eventually("an empty queue", ask).await
    }

    /// Waits until no message is in the queue, waiting or hidden, and returns how long it took. A queue that
    /// does not get shorter for a `standstill` is an error, and so is an error of `check`.
    pub async fn queue_drains(
        &self,
        standstill: Standstill,
        mut check: impl AsyncFnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let (mut least, mut since, mut hidden_only) = (i64::MAX, begun, begun);
        loop {
            let (waiting, hidden) = self.depth(&self.pair.url).await?;
            if (waiting, hidden) == (0, 0) {
                return Ok(begun.elapsed());
            }
            check().await?;
            if waiting + hidden < least {
                (least, since) = (waiting + hidden, Instant::now());
            }
            if waiting == 0 {
                hidden_only = Instant::now();
            }
            let stands = since.elapsed();
            anyhow::ensure!(
                stands < standstill.hidden && stands.min(hidden_only.elapsed()) < standstill.waiting,
                "{waiting} messages wait and {hidden} are hidden, no fewer since {stands:?}"
            );
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Receives all messages of the dead-letter queue.
    pub async fn dead_letters(&self) -> anyhow::Result<Vec<DeadLetter>> {
        let mut letters = Vec::new();
        loop {
            let received = self
                .sqs
                .receive_message()
                .queue_url(&self.pair.dead_letter_url)
                .max_number_of_messages(10)
                .visibility_timeout(600)
                .message_attribute_names("All")
                .message_system_attribute_names(MessageSystemAttributeName::All)
                .send()
                .await?;
            let messages = received.messages.unwrap_or_default();
            if messages.is_empty() {
                return Ok(letters);
            }
            letters.extend(messages.into_iter().map(DeadLetter::from));
        }
    }
}

/// Sends up to ten messages in one call and returns their ids, in the order of `bodies`.
pub async fn send_batch(sqs: &Client, queue_url: &str, bodies: &[String]) -> anyhow::Result<Vec<String>> {
    let entries = bodies.iter().enumerate().map(|(number, body)| {
        SendMessageBatchRequestEntry::builder().id(number.to_string()).message_body(body).build()
    });
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    let answer = sqs.send_message_batch().queue_url(queue_url).set_entries(Some(entries)).send().await?;
    anyhow::ensure!(answer.failed.is_empty(), "the queue refused messages");
    let mut ids = vec![String::new(); bodies.len()];
    for accepted in answer.successful {
        let place = ids.get_mut(accepted.id.parse::<usize>()?).context("the queue answers another call")?;
        *place = accepted.message_id;
    }
    Ok(ids)
}

/// A plain login event.
pub fn login(user_id: &str) -> String {
    serde_json::json!({
        "user_id": user_id,
        "device_type": "android",
        "ip": "199.172.111.135",
        "device_id": "593-47-5928",
        "locale": "RU",
        "app_version": "2.3.0",
    })
    .to_string()
}

impl From<aws_sdk_sqs::types::Message> for DeadLetter {
    fn from(message: aws_sdk_sqs::types::Message) -> Self {
        let attributes = message.message_attributes.unwrap_or_default();
        let text = |name: &str| {
            let value = attributes.get(name).and_then(|attribute| attribute.string_value.clone());
            value.unwrap_or_default()
        };
        Self {
            body: message.body.unwrap_or_default(),
            reason: text("veilpost.reason"),
            detail: text("veilpost.detail"),
            message_id: text("veilpost.message-id"),
            sent_timestamp: text("veilpost.sent-timestamp"),
            attributes: attributes.keys().cloned().collect(),
        }
    }
}
