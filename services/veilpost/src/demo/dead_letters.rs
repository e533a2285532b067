//! Reads the dead-letter queue, and counts what a queue still has.

use std::collections::HashMap;

use anyhow::Context;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{Message, QueueAttributeName};

use veilpost_local::queue::{Call, in_one_line};

const REASON: &str = "veilpost.reason";
const MESSAGE_ID: &str = "veilpost.message-id";

/// How long what was read stays hidden, in seconds: nothing comes twice while reading, and a person who looks
/// later finds it again.
const HIDDEN: i32 = 60;

/// The reasons in the dead-letter queue by original message id. A copy of a message that is there already
/// counts once.
pub(super) async fn read(client: &Client, url: &str) -> anyhow::Result<HashMap<String, String>> {
    let mut found = HashMap::new();
    loop {
        let request = client.receive_message().queue_url(url).max_number_of_messages(10);
        let request = request.message_attribute_names("All").visibility_timeout(HIDDEN).wait_time_seconds(0);
        let answer = request.send().await.map_err(|error| in_one_line(&error, Call::Receive));
        let messages = answer.context("cannot read the dead-letter queue")?.messages.unwrap_or_default();
        if messages.is_empty() {
            return Ok(found);
        }
        found.extend(messages.iter().map(|message| {
            let original = attribute(message, MESSAGE_ID).or(message.message_id.clone()).unwrap_or_default();
            (original, attribute(message, REASON).unwrap_or_else(|| "unspecified".to_owned()))
        }));
    }
}

fn attribute(message: &Message, name: &str) -> Option<String> {
    message.message_attributes.as_ref()?.get(name)?.string_value.clone()
}

/// Messages in a queue: visible, hidden and delayed.
pub(super) async fn count(client: &Client, url: &str) -> anyhow::Result<u64> {
    let names = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        QueueAttributeName::ApproximateNumberOfMessagesDelayed,
    ];
    let request = client.get_queue_attributes().queue_url(url).set_attribute_names(Some(names.to_vec()));
    let answer = request
        .send()
        .await
        .map_err(|error| in_one_line(&error, Call::Inspect))
        .context("cannot count messages")?;
    let counts = answer.attributes.unwrap_or_default();
    names
        .iter()
        .map(|name| counts.get(name).context("a count is missing")?.parse::<u64>().context("not a count"))
        .sum()
}
