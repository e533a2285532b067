//! A queue on SQS: receive, delete, extend, send.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::operation::receive_message::builders::ReceiveMessageFluentBuilder;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, ChangeMessageVisibilityBatchResultEntry,
    DeleteMessageBatchRequestEntry, DeleteMessageBatchResultEntry, Message, MessageSystemAttributeName,
    QueueAttributeName, SendMessageBatchRequestEntry, SendMessageBatchResultEntry,
};

use crate::call_metrics::{count, counted};
use crate::client::Clients;
use crate::dead_letter_message::Letter;
use crate::delivery::ReceiptHandle;
use crate::error::Problem;

/// Messages that one receive brings, and entries that one batch has, at most.
pub(crate) const MAX_ENTRIES: usize = 10;

/// One queue. Batch calls take one to [`MAX_ENTRIES`] entries and give one [`Answer`] for each, by position.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    clients: Clients,
    url: String,
}

/// What SQS did with one entry of a batch.
pub(crate) type Answer = Result<(), Refusal>;

/// Why SQS did not do what one entry of a batch asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    /// Whether the entry itself is at fault, so that asking again cannot help.
    pub(crate) sender_fault: bool,
}

/// What a receive asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    /// At most this many messages come, and never more than [`MAX_ENTRIES`].
    pub(crate) messages: usize,
    /// How long SQS waits for a first message; whole seconds.
    pub(crate) wait: Duration,
    /// How long what comes stays hidden; whole seconds.
    pub(crate) visibility: Duration,
}

impl Queue {
    pub(crate) fn new(clients: Clients, url: String) -> Self {
        Self { clients, url }
    }

    /// The queue that `name` stands for; a URL is taken as it is.
    pub(crate) async fn resolve(clients: &Clients, name: &str) -> Result<Self, Problem> {
        if name.contains("://") {
            return Ok(Self::new(clients.clone(), name.to_owned()));
        }
        let found = clients.calls.get_queue_url().queue_name(name).send().await;
        let url = found.map_err(|error| Problem::from_sdk(&error))?.queue_url;
        Ok(Self::new(clients.clone(), url.ok_or(Problem::NotSqs)?))
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The last part of the URL.
    pub(crate) fn name(&self) -> &str {
        last_segment(&self.url)
    }

    /// All attributes of the queue; asking for some by name fails on queues that do not have them.
    pub(crate) async fn attributes(&self) -> Result<HashMap<QueueAttributeName, String>, Problem> {
        let call = self.clients.calls.get_queue_attributes().queue_url(&self.url);
        let found = call.attribute_names(QueueAttributeName::All).send().await;
        Ok(found.map_err(|error| Problem::from_sdk(&error))?.attributes.unwrap_or_default())
    }

    /// A long poll. Never cancel it: messages that SQS hands out meanwhile would stay hidden with nobody to settle
    /// them.
    pub(crate) async fn receive(&self, ask: Ask) -> Result<Vec<Message>, Problem> {
        let call = system_attributes(self.clients.polls.receive_message()).queue_url(&self.url);
        let sent = call
            .max_number_of_messages(whole(ask.messages.min(MAX_ENTRIES)))
            .wait_time_seconds(seconds(ask.wait))
            .visibility_timeout(seconds(ask.visibility))
            .message_attribute_names("All")
            .send()
            .await;
        Ok(counted("receive", sent)?.messages.unwrap_or_default())
    }

    /// Deletes for good. A handle of an older receive of the same message may be refused, or accepted without effect.
    pub(crate) async fn delete(&self, handles: Vec<ReceiptHandle>) -> Result<Vec<Answer>, Problem> {
        let count = handles.len();
        let entry = |(id, handle): (usize, ReceiptHandle)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(id.to_string());
            entry.receipt_handle(handle.into_text()).build()
        };
        let entries = built(handles.into_iter().enumerate().map(entry))?;
        let call = self.clients.calls.delete_message_batch().queue_url(&self.url);
        let output = counted("delete", call.set_entries(Some(entries)).send().await)?;
        Ok(answers(
            "delete",
            count,
            output.successful.iter().map(DeleteMessageBatchResultEntry::id),
            &output.failed,
        ))
    }

    /// Hides each message for another `visibility` from now; zero shows it at once. Whole seconds.
    pub(crate) async fn extend(&self, entries: &[(ReceiptHandle, Duration)]) -> Result<Vec<Answer>, Problem> {
        let entry = |(id, (handle, visibility)): (usize, &(ReceiptHandle, Duration))| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(id.to_string())
                .receipt_handle(handle.expose())
                .visibility_timeout(seconds(*visibility))
                .build()
        };
        let built = built(entries.iter().enumerate().map(entry))?;
        let call = self.clients.calls.change_message_visibility_batch().queue_url(&self.url);
        let output = counted("extend", call.set_entries(Some(built)).send().await)?;
        Ok(answers(
            "extend",
            entries.len(),
            output.successful.iter().map(ChangeMessageVisibilityBatchResultEntry::id),
            &output.failed,
        ))
    }

    /// Sends one message.
    pub(crate) async fn send(&self, letter: Letter) -> Result<(), Problem> {
        let call = self.clients.calls.send_message().queue_url(&self.url).message_body(letter.body);
        let call = call
            .set_message_attributes(Some(letter.attributes))
            .set_message_system_attributes(letter.system_attributes);
        counted("send", call.send().await).map(|_| ())
    }

    /// Sends several messages in one call.
    pub(crate) async fn send_batch(&self, letters: Vec<Letter>) -> Result<Vec<Answer>, Problem> {
        let count = letters.len();
        let entry = |(id, letter): (usize, Letter)| {
            SendMessageBatchRequestEntry::builder()
                .id(id.to_string())
                .message_body(letter.body)
                .set_message_attributes(Some(letter.attributes))
                .set_message_system_attributes(letter.system_attributes)
                .build()
        };
        let entries = built(letters.into_iter().enumerate().map(entry))?;
        let call = self.clients.calls.send_message_batch().queue_url(&self.url);
        let output = counted("send", call.set_entries(Some(entries)).send().await)?;
        Ok(answers(
            "send",
            count,
            output.successful.iter().map(SendMessageBatchResultEntry::id),
            &output.failed,
        ))
    }
}

const SYSTEM_ATTRIBUTES: [MessageSystemAttributeName; 3] = [
    MessageSystemAttributeName::SentTimestamp,
    MessageSystemAttributeName::ApproximateReceiveCount,
    MessageSystemAttributeName::AwsTraceHeader,
];

/// Asks under both of the field's names: some servers know only the older one, and AWS takes both.
#[expect(deprecated, reason = "servers that know only the older name give no sent times otherwise")]
fn system_attributes(call: ReceiveMessageFluentBuilder) -> ReceiveMessageFluentBuilder {
    SYSTEM_ATTRIBUTES.iter().fold(call, |call, name| {
        let older = QueueAttributeName::from(name.as_str());
        call.message_system_attribute_names(name.clone()).attribute_names(older)
    })
}

fn last_segment(url: &str) -> &str {
    url.trim_end_matches('/').rsplit('/').next().unwrap_or(url)
}

fn built<T, E>(entries: impl Iterator<Item = Result<T, E>>) -> Result<Vec<T>, Problem> {
    entries.collect::<Result<_, _>>().map_err(|_| Problem::Code("InvalidEntry".to_owned()))
}

/// One answer per entry. An entry that SQS mentions nowhere counts as not done.
fn answers<'a>(
    call: &'static str,
    entries: usize,
    successful: impl Iterator<Item = &'a str>,
    failed: &[BatchResultErrorEntry],
) -> Vec<Answer> {
    let missing = || Err(Refusal { code: "NotAnswered".to_owned(), sender_fault: false });
    let mut answers: Vec<Answer> = (0..entries).map(|_| missing()).collect();
    let mut set = |id: &str, answer: Answer| {
        if let Some(place) = id.parse().ok().and_then(|index: usize| answers.get_mut(index)) {
            *place = answer;
        }
    };
    successful.for_each(|id| set(id, Ok(())));
    for entry in failed {
        set(&entry.id, Err(Refusal { code: entry.code.clone(), sender_fault: entry.sender_fault }));
    }
    count(call, answers.iter().filter(|answer| answer.is_err()).count());
    answers
}

fn whole(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}

#[cfg(test)]
impl Queue {
    /// One that no call reaches.
    pub(crate) fn nowhere() -> Self {
        use aws_sdk_sqs::config::{Credentials, Region, SharedCredentialsProvider};
        let keys = SharedCredentialsProvider::new(Credentials::new("k", "s", None, None, "test"));
        let aws = aws_config::SdkConfig::builder().behavior_version(aws_config::BehaviorVersion::latest());
        let aws = aws.region(Region::from_static("nowhere")).credentials_provider(keys);
        let aws = aws.endpoint_url("http://127.0.0.1:9").build();
        Self::new(Clients::new(&aws, Duration::ZERO).unwrap(), "http://127.0.0.1:9/0/q".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(id: &str, sender_fault: bool) -> BatchResultErrorEntry {
        BatchResultErrorEntry::builder().id(id).sender_fault(sender_fault).code("C").build().unwrap()
    }

    #[test]
    fn every_entry_gets_its_own_answer_by_position() {
        let answers = answers("delete", 4, ["2", "0"].into_iter(), &[failed("1", true)]);
        let refusal = |code: &str, sender_fault| Err(Refusal { code: code.to_owned(), sender_fault });
        assert_eq!(answers, [Ok(()), refusal("C", true), Ok(()), refusal("NotAnswered", false)]);
    }

    #[test]
    fn a_queue_is_named_by_the_last_part_of_its_url() {
        assert_eq!(last_segment("https://sqs.eu-west-1.amazonaws.com/123456789012/logins"), "logins");
        assert_eq!(last_segment("http://localhost:4566/000000000000/logins/"), "logins");
    }

    #[test]
    fn ids_that_were_not_asked_about_are_ignored() {
        assert_eq!(answers("delete", 1, ["0", "7", "x"].into_iter(), &[failed("-1", true)]), [Ok(())]);
    }
}
