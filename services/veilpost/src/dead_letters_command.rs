//! `veilpost dead-letters`: lists rejection reasons; never shows bodies.

use std::process::ExitCode;

use anyhow::Context;
use aws_sdk_sqs::types::{ChangeMessageVisibilityBatchRequestEntry, Message, MessageSystemAttributeName};
use clap::Args;
use jiff::{Timestamp, Unit};
use veilpost_local::output::{print, say};
use veilpost_local::queue::{Call, QueueClient, in_one_line};
use veilpost_local::table;

/// How long a message is hidden while the others are read, in seconds, so that none is read twice.
const HIDDEN: i32 = 120;

#[derive(Args, Clone, Debug)]
pub(crate) struct DeadLettersSettings {
    /// The dead-letter queue's URL or name; region, credentials and endpoint come from the AWS_* variables
    /// and files
    #[arg(long, env = "VEILPOST_DEAD_LETTER_QUEUE_URL", value_name = "URL|NAME", help_heading = "Queue")]
    queue: String,

    /// Maximum number of messages to list
    #[arg(long, default_value_t = 1000, help_heading = "Queue")]
    limit: usize,
}

/// The parts of a message that are shown.
#[derive(Debug, PartialEq, Eq)]
struct ListedDeadLetter {
    sent: Option<Timestamp>,
    message_id: String,
    reason: String,
    detail: String,
}

/// Lists the messages and makes them visible again at once: all stay in the queue.
pub(crate) async fn run(settings: &DeadLettersSettings) -> anyhow::Result<ExitCode> {
    let queue = QueueClient::find(&settings.queue).await?;
    let mut messages = Vec::new();
    let read = read(&queue, settings.limit, &mut messages).await;
    put_back(&queue, &messages).await?;
    read?;
    let mut dead_letters: Vec<_> = messages.iter().map(ListedDeadLetter::of).collect();
    dead_letters.sort_by_key(|dead_letter| dead_letter.sent);
    print(&listing(&dead_letters))?;
    say(&format!("{} messages in {}", dead_letters.len(), queue.url));
    Ok(ExitCode::SUCCESS)
}

async fn read(queue: &QueueClient, limit: usize, found: &mut Vec<Message>) -> anyhow::Result<()> {
    while found.len() < limit {
        let room = i32::try_from(limit - found.len()).unwrap_or(i32::MAX).min(10);
        let request = queue.client.receive_message().queue_url(&queue.url).max_number_of_messages(room);
        let request = request.visibility_timeout(HIDDEN).wait_time_seconds(1).message_attribute_names("All");
        let request = request.message_system_attribute_names(MessageSystemAttributeName::SentTimestamp);
        let answer = request.send().await.map_err(|error| in_one_line(&error, Call::Receive));
        let messages = answer.context("cannot read the dead-letter queue")?.messages.unwrap_or_default();
        if messages.is_empty() {
            break;
        }
        found.extend(messages);
    }
    Ok(())
}

async fn put_back(queue: &QueueClient, messages: &[Message]) -> anyhow::Result<()> {
    for some in messages.chunks(10) {
        let entries = some.iter().enumerate().map(|(number, message)| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(number.to_string())
                .set_receipt_handle(message.receipt_handle.clone())
                .visibility_timeout(0)
                .build()
        });
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        let request = queue.client.change_message_visibility_batch().queue_url(&queue.url);
        let answer = request
            .set_entries(Some(entries))
            .send()
            .await
            .map_err(|error| in_one_line(&error, Call::Extend));
        answer.context("cannot put messages back; they are hidden for two minutes")?;
    }
    Ok(())
}

impl ListedDeadLetter {
    /// A message without a reason was moved by the queue itself, after too many receives.
    fn of(message: &Message) -> Self {
        let attribute = |name: &str| message.message_attributes.as_ref()?.get(name)?.string_value.clone();
        let system = message.attributes.as_ref();
        let enqueued = || system?.get(&MessageSystemAttributeName::SentTimestamp).cloned();
        let sent = attribute("veilpost.sent-timestamp").or_else(enqueued);
        Self {
            sent: sent.and_then(|text| Timestamp::from_millisecond(text.parse().ok()?).ok()),
            message_id: attribute("veilpost.message-id").or(message.message_id.clone()).unwrap_or_default(),
            reason: attribute("veilpost.reason").unwrap_or_else(|| "received-too-often".to_owned()),
            detail: attribute("veilpost.detail").unwrap_or_default(),
        }
    }

    fn cells(&self) -> [String; 4] {
        let sent = self.sent.and_then(|sent| sent.round(Unit::Second).ok());
        let sent = sent.map_or_else(|| "-".to_owned(), |sent| sent.to_string());
        let [message_id, reason, detail] =
            [&self.message_id, &self.reason, &self.detail].map(|text| printable(text));
        [sent, message_id, reason, detail]
    }
}

fn listing(dead_letters: &[ListedDeadLetter]) -> String {
    let header = ["sent", "message id", "reason", "detail"].map(str::to_owned);
    table::of_words(std::iter::once(header).chain(dead_letters.iter().map(ListedDeadLetter::cells)))
}

/// Senders choose these texts, which must not control the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '?' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_sqs::types::MessageAttributeValue;

    fn message(attributes: &[(&str, &str)]) -> Message {
        let message = Message::builder().message_id("own-id").body("SECRET");
        let message = message.attributes(MessageSystemAttributeName::SentTimestamp, "1700000000000");
        attributes
            .iter()
            .fold(message, |message, (name, value)| {
                let value = MessageAttributeValue::builder().data_type("String").string_value(*value);
                message.message_attributes(*name, value.build().unwrap())
            })
            .build()
    }

    #[test]
    fn a_dead_letter_shows_the_original_id_and_time_the_reason_and_the_detail_but_not_the_body() {
        let dead_letter = ListedDeadLetter::of(&message(&[
            ("veilpost.reason", "not-json"),
            ("veilpost.detail", "the body\u{1b}[2J is not JSON"),
            ("veilpost.message-id", "first-id"),
            ("veilpost.sent-timestamp", "1600000000000"),
        ]));
        let text = listing(&[dead_letter]);
        assert!(text.contains("2020-09-13T12:26:40Z first-id"), "{text}");
        assert!(text.contains("not-json the body?[2J is not JSON\n"), "{text}");
        assert!(!text.contains("SECRET"));
    }

    #[test]
    fn a_message_moved_by_the_queue_itself_was_received_too_often() {
        let text = listing(&[ListedDeadLetter::of(&message(&[]))]);
        assert!(text.contains("2023-11-14T22:13:20Z own-id"), "{text}");
        assert!(text.ends_with("received-too-often\n"), "{text}");
    }
}
