//! Sending messages.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::batch::{BatchAnswer, Entry};
use super::content::{WireValues, content, system_attributes};
use crate::queue::server::call::{Call, queue_name, seconds};
use crate::queue::state::{Account, Code, Content, Millis, SqsError, hex, md5_of_attributes};

const MAX_DELAY_SECONDS: i64 = 900;

/// Bytes of all bodies and attributes of a batch.
const MAX_BATCH_SIZE: usize = 1_048_576;

/// A call that sends one message, or one entry of a batch.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Outgoing<'a> {
    /// Not in a batch.
    #[serde(borrow)]
    queue_url: Cow<'a, str>,
    /// Only in a batch.
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    message_body: Cow<'a, str>,
    delay_seconds: Option<i64>,
    message_attributes: WireValues,
    message_system_attributes: WireValues,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Batch<'a> {
    #[serde(borrow)]
    queue_url: Cow<'a, str>,
    #[serde(borrow)]
    entries: Vec<Outgoing<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Sent {
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
    message_id: String,
    #[serde(rename = "MD5OfMessageBody")]
    md5_of_body: String,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    md5_of_attributes: Option<String>,
    #[serde(rename = "MD5OfMessageSystemAttributes", skip_serializing_if = "Option::is_none")]
    md5_of_system_attributes: Option<String>,
}

/// A message that may be sent.
struct Checked {
    /// Empty outside of a batch.
    id: String,
    content: Content,
    delay: Option<Millis>,
}

pub(super) fn send(call: &Call<'_>, message: Outgoing<'_>) -> Result<Sent, SqsError> {
    let url = message.queue_url.clone();
    let checked = Checked::new(message)?;
    call.change(&url, |account, now, queue| checked.send(account, now, queue))
}

pub(super) fn send_batch(call: &Call<'_>, batch: Batch<'_>) -> Result<BatchAnswer<Sent>, SqsError> {
    let name = queue_name(&batch.queue_url)?;
    let size = batch.entries.iter().map(Outgoing::size).sum::<usize>();
    if size > MAX_BATCH_SIZE {
        let text = format!(
            "Batch requests cannot be longer than {MAX_BATCH_SIZE} bytes. You have sent {size} bytes."
        );
        return Err(SqsError::new(Code::BatchRequestTooLong, text));
    }
    if !call.shared.read(|account| account.exists(name)) {
        return Err(SqsError::no_queue());
    }
    // All entries are sent at once, so that one receive can get them all.
    let checked = BatchAnswer::of(batch.entries, Checked::new)?;
    Ok(call.shared.change(|account, now| checked.then(|message| message.send(account, now, name))))
}

impl Entry for Outgoing<'_> {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Entry for Checked {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Outgoing<'_> {
    fn size(&self) -> usize {
        let values = self.message_attributes.iter().map(|(name, value)| name.len() + value.size());
        self.message_body.len() + values.sum::<usize>()
    }
}

impl Checked {
    fn new(message: Outgoing<'_>) -> Result<Self, SqsError> {
        let delay = seconds("DelaySeconds", message.delay_seconds, MAX_DELAY_SECONDS)?;
        let (attributes, system) = (message.message_attributes, message.message_system_attributes);
        let content = content(&message.message_body, attributes, system)?;
        Ok(Self { id: message.id.into_owned(), content, delay })
    }

    fn send(self, account: &mut Account, now: Millis, queue: &str) -> Result<Sent, SqsError> {
        let message = account.send(now, queue, self.content, self.delay)?;
        let content = &message.content;
        let attributes = (!content.attributes.is_empty()).then_some(&content.attributes);
        Ok(Sent {
            id: self.id,
            message_id: message.id.to_string(),
            md5_of_body: hex(content.md5_of_body),
            md5_of_attributes: attributes.map(|attributes| hex(md5_of_attributes(attributes))),
            md5_of_system_attributes: system_attributes(content).map(|one| hex(md5_of_attributes([&one]))),
        })
    }
}
