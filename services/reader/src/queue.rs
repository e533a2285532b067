//! A queue on SQS and the calls to it: receive, delete, extend, send.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::operation::receive_message::builders::ReceiveMessageFluentBuilder;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, ChangeMessageVisibilityBatchResultEntry,
    DeleteMessageBatchRequestEntry, DeleteMessageBatchResultEntry, Message, MessageSystemAttributeName,
    QueueAttributeName, SendMessageBatchRequestEntry, SendMessageBatchResultEntry,
};
use veilpost_reader_core::spans::Destination;
use veilpost_runtime::numbers;
use veilpost_runtime::telemetry::OutageLog;
use veilpost_sqs::{Call, SqsError};

use crate::call_metrics::counted;
use crate::client::Clients;
use crate::dead_letter_message::DeadLetterMessage;
use crate::entries::{EntryResult, built, results};
use crate::limits::MAX_ENTRIES;
use crate::receipt_handle::ReceiptHandle;
use crate::spans;

/// One queue. Batch calls take one to [`MAX_ENTRIES`] entries and return one [`EntryResult`] for each, by
/// position.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    clients: Clients,
    url: String,
    destination: Destination,
    /// The id of the KMS key that encrypts it, where it has one.
    key: Option<String>,
}

/// What a receive asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceiveOptions {
    /// The most messages that come, and never more than [`MAX_ENTRIES`].
    pub(crate) messages: usize,
    /// How long SQS waits for a first message; whole seconds.
    pub(crate) wait: Duration,
    /// How long the messages that come stay hidden; whole seconds.
    pub(crate) visibility: Duration,
}

impl Queue {
    pub(crate) fn new(clients: Clients, url: String) -> Self {
        let destination = spans::destination(&url);
        Self { clients, url, destination, key: None }
    }

    /// Finds the queue by its name or URL. A URL is taken without asking SQS.
    pub(crate) async fn resolve(clients: &Clients, name: &str) -> Result<Self, SqsError> {
        if name.contains("://") {
            return Ok(Self::new(clients.clone(), name.to_owned()));
        }
        let found = clients.calls.get_queue_url().queue_name(name).send().await;
        let url = found.map_err(|error| SqsError::from_sdk(&error, Call::Find))?.queue_url;
        Ok(Self::new(clients.clone(), url.ok_or(SqsError::NotSqs(String::new()))?))
    }

    /// The same queue, of which the key that encrypts it is known.
    pub(crate) fn with_key(self, key: Option<String>) -> Self {
        Self { key, ..self }
    }

    /// Where problems are noted that all calls have alike.
    pub(crate) fn access(&self) -> &Arc<OutageLog> {
        &self.clients.access
    }

    fn counted<O, E, R>(&self, call: Call, result: Result<O, SdkError<E, R>>) -> Result<O, SqsError>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        counted(call, result).map_err(|problem| problem.with_key(self.key.as_deref()))
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// How spans name the queue.
    pub(crate) fn destination(&self) -> &Destination {
        &self.destination
    }

    /// The queue's name.
    pub(crate) fn name(&self) -> &str {
        &self.destination.name
    }

    /// All attributes of the queue. A call for some of them by name fails on queues that do not have them.
    pub(crate) async fn attributes(&self) -> Result<HashMap<QueueAttributeName, String>, SqsError> {
        let call = self.clients.calls.get_queue_attributes().queue_url(&self.url);
        let found = call.attribute_names(QueueAttributeName::All).send().await;
        let found = found.map_err(|error| SqsError::from_sdk(&error, Call::Inspect));
        Ok(found?.attributes.unwrap_or_default())
    }

    /// A long poll. Never cancel it: messages that SQS hands out meanwhile would stay hidden with nobody to
    /// settle them.
    pub(crate) async fn receive(&self, options: ReceiveOptions) -> Result<Vec<Message>, SqsError> {
        let call = system_attributes(self.clients.polls.receive_message()).queue_url(&self.url);
        let sent = call
            .max_number_of_messages(numbers::to_i32(options.messages.min(MAX_ENTRIES)))
            .wait_time_seconds(seconds(options.wait))
            .visibility_timeout(seconds(options.visibility))
            .message_attribute_names("All")
            .send()
            .await;
        Ok(self.counted(Call::Receive, sent)?.messages.unwrap_or_default())
    }

    /// Deletes messages for good. SQS may refuse the handle of an older receive, or accept it and delete
    /// nothing.
    pub(crate) async fn delete(&self, handles: Vec<ReceiptHandle>) -> Result<Vec<EntryResult>, SqsError> {
        let count = handles.len();
        let entry = |(id, handle): (usize, ReceiptHandle)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(id.to_string());
            entry.receipt_handle(handle.into_text()).build()
        };
        let entries = built(handles.into_iter().enumerate().map(entry))?;
        let call = self.clients.calls.delete_message_batch().queue_url(&self.url);
        let output = self.counted(Call::Delete, call.set_entries(Some(entries)).send().await)?;
        let successful = output.successful.iter().map(DeleteMessageBatchResultEntry::id);
        Ok(results(Call::Delete, count, successful, &output.failed))
    }

    /// Hides each message for another `visibility` from now, in whole seconds. Zero makes it visible at once.
    pub(crate) async fn change_visibility(
        &self,
        messages: &[(ReceiptHandle, Duration)],
    ) -> Result<Vec<EntryResult>, SqsError> {
        let entry = |(id, (handle, visibility)): (usize, &(ReceiptHandle, Duration))| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(id.to_string())
                .receipt_handle(handle.expose())
                .visibility_timeout(seconds(*visibility))
                .build()
        };
        let entries = built(messages.iter().enumerate().map(entry))?;
        let call = self.clients.calls.change_message_visibility_batch().queue_url(&self.url);
        let output = self.counted(Call::Extend, call.set_entries(Some(entries)).send().await)?;
        let successful = output.successful.iter().map(ChangeMessageVisibilityBatchResultEntry::id);
        Ok(results(Call::Extend, messages.len(), successful, &output.failed))
    }

    /// Asks SQS whether visibility timeouts may be extended, without a message: permissions are checked
    /// before receipt handles.
    pub(crate) async fn check_extend(&self) -> Result<(), SqsError> {
        permitted(Call::Extend, self.change_visibility(&[(ReceiptHandle::made_up(), Duration::ZERO)]).await?)
    }

    /// Asks SQS whether messages may be deleted, without a message.
    pub(crate) async fn check_delete(&self) -> Result<(), SqsError> {
        permitted(Call::Delete, self.delete(vec![ReceiptHandle::made_up()]).await?)
    }

    /// Sends one message.
    pub(crate) async fn send(&self, message: DeadLetterMessage) -> Result<(), SqsError> {
        let call = self.clients.calls.send_message().queue_url(&self.url).message_body(message.body);
        let call = call
            .set_message_attributes(Some(message.attributes))
            .set_message_system_attributes(message.system_attributes);
        self.counted(Call::Send, call.send().await).map(|_| ())
    }

    /// Sends several messages in one call.
    pub(crate) async fn send_batch(
        &self,
        messages: Vec<DeadLetterMessage>,
    ) -> Result<Vec<EntryResult>, SqsError> {
        let count = messages.len();
        let entry = |(id, message): (usize, DeadLetterMessage)| {
            SendMessageBatchRequestEntry::builder()
                .id(id.to_string())
                .message_body(message.body)
                .set_message_attributes(Some(message.attributes))
                .set_message_system_attributes(message.system_attributes)
                .build()
        };
        let entries = built(messages.into_iter().enumerate().map(entry))?;
        let call = self.clients.calls.send_message_batch().queue_url(&self.url);
        let output = self.counted(Call::Send, call.set_entries(Some(entries)).send().await)?;
        let successful = output.successful.iter().map(SendMessageBatchResultEntry::id);
        Ok(results(Call::Send, count, successful, &output.failed))
    }
}

/// A made-up handle is refused as such where the call is permitted and works.
fn permitted(call: Call, results: Vec<EntryResult>) -> Result<(), SqsError> {
    match results.into_iter().find_map(Result::err) {
        Some(refusal) if !refusal.blames_handle() => Err(refusal.problem(call)),
        _ => Ok(()),
    }
}

const SYSTEM_ATTRIBUTES: [MessageSystemAttributeName; 3] = [
    MessageSystemAttributeName::SentTimestamp,
    MessageSystemAttributeName::ApproximateReceiveCount,
    MessageSystemAttributeName::AwsTraceHeader,
];

/// Asks for system attributes under both names of the field: some servers know only the older one, and AWS
/// takes both.
#[expect(deprecated, reason = "servers that know only the older name give no sent times otherwise")]
fn system_attributes(call: ReceiveMessageFluentBuilder) -> ReceiveMessageFluentBuilder {
    SYSTEM_ATTRIBUTES.iter().fold(call, |call, name| {
        let older = QueueAttributeName::from(name.as_str());
        call.message_system_attribute_names(name.clone()).attribute_names(older)
    })
}

fn seconds(duration: Duration) -> i32 {
    numbers::to_i32(duration.as_secs())
}

#[cfg(test)]
impl Queue {
    /// A queue that no call reaches. Its clients are made once, because that takes time.
    pub(crate) fn unreachable() -> Self {
        static QUEUE: std::sync::OnceLock<Queue> = std::sync::OnceLock::new();
        QUEUE.get_or_init(Self::at_a_closed_port).clone()
    }

    fn at_a_closed_port() -> Self {
        use aws_sdk_sqs::config::{Credentials, Region, SharedCredentialsProvider};
        let keys = SharedCredentialsProvider::new(Credentials::new("k", "s", None, None, "test"));
        let aws = aws_config::SdkConfig::builder().behavior_version(aws_config::BehaviorVersion::latest());
        let aws = aws.region(Region::from_static("nowhere")).credentials_provider(keys);
        let aws = aws.endpoint_url("http://127.0.0.1:9").build();
        Self::new(Clients::new(&aws, Duration::ZERO).unwrap(), "http://127.0.0.1:9/0/q".to_owned())
    }
}
