//! A delivery: one receive of one message.

use std::collections::HashMap;
use std::fmt;

use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName};
use bytes::Bytes;
use tokio::time::Instant;
use veilpost_proto::v1::RawRecord;

use crate::trace_context;
use crate::window::Share;

/// Tells the deliveries of this process apart. A message id cannot: the same message may be in flight twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct DeliveryNumber(pub(crate) u64);

/// The right to delete, hide or show a message as this delivery. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ReceiptHandle(String);

impl ReceiptHandle {
    pub(crate) fn new(handle: String) -> Self {
        Self(handle)
    }

    /// The text that goes to SQS, and nowhere else.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// The same, without a copy.
    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

impl fmt::Debug for ReceiptHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ReceiptHandle(..)")
    }
}

/// The attributes that the producer gave a message, by name.
pub(crate) type Attributes = HashMap<String, MessageAttributeValue>;

/// Everything that is needed to settle one receive of one message.
pub(crate) struct Delivery {
    pub(crate) message_id: String,
    pub(crate) handle: ReceiptHandle,
    pub(crate) body: Option<Bytes>,
    /// Milliseconds since the Unix epoch; 0 when the queue did not say.
    pub(crate) sent_timestamp_ms: i64,
    /// This delivery included; 0 when the queue did not say.
    pub(crate) receive_count: u32,
    pub(crate) attributes: Attributes,
    /// The `AWSTraceHeader` system attribute.
    pub(crate) trace_header: Option<String>,
    pub(crate) received: Instant,
    /// Since when the message is hidden for another whole visibility timeout; `None` once SQS has said that this
    /// delivery can no longer be extended.
    pub(crate) hidden_since: Option<Instant>,
    /// It has been said that it is in flight for very long.
    pub(crate) warned: bool,
    /// The delivery's part of the in-flight window, given back when the delivery is dropped.
    _share: Share,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Delivery")
            .field("message_id", &self.message_id)
            .field("receive_count", &self.receive_count)
            .finish_non_exhaustive()
    }
}

impl Delivery {
    /// `None` when the message has no id or no receipt handle: then nothing could be done with it.
    pub(crate) fn new(message: Message, received: Instant, share: Share) -> Option<Self> {
        let mut system = message.attributes.unwrap_or_default();
        Some(Self {
            message_id: message.message_id?,
            handle: ReceiptHandle::new(message.receipt_handle?),
            body: message.body.map(Bytes::from),
            sent_timestamp_ms: number(&system, &MessageSystemAttributeName::SentTimestamp),
            receive_count: number(&system, &MessageSystemAttributeName::ApproximateReceiveCount),
            attributes: message.message_attributes.unwrap_or_default(),
            trace_header: system.remove(&MessageSystemAttributeName::AwsTraceHeader),
            received,
            hidden_since: Some(received),
            warned: false,
            _share: share,
        })
    }

    /// Of the body and the attributes, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.body.as_ref().map_or(0, Bytes::len) + attributes_size(&self.attributes)
    }

    /// What the masker needs of it. The body is shared, not copied.
    pub(crate) fn record(&self) -> RawRecord {
        RawRecord {
            message_id: self.message_id.clone(),
            body: self.body.clone(),
            sent_timestamp_ms: self.sent_timestamp_ms,
            receive_count: self.receive_count,
            producer: trace_context::context(&self.attributes, self.trace_header.as_deref()),
        }
    }
}

fn number<N>(system: &HashMap<MessageSystemAttributeName, String>, name: &MessageSystemAttributeName) -> N
where
    N: std::str::FromStr + Default,
{
    system.get(name).and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// How much of the in-flight window's bytes a message takes: its body and its attributes.
pub(crate) fn size(message: &Message) -> usize {
    let attributes = message.message_attributes.as_ref();
    message.body.as_ref().map_or(0, String::len) + attributes.map_or(0, attributes_size)
}

fn attributes_size(attributes: &Attributes) -> usize {
    attributes.iter().map(|(name, value)| attribute_size(name, value)).sum()
}

/// An attribute's part of the message size that SQS limits: name, type and value.
pub(crate) fn attribute_size(name: &str, value: &MessageAttributeValue) -> usize {
    let text = value.string_value.as_ref().map_or(0, String::len);
    let binary = value.binary_value.as_ref().map_or(0, |blob| blob.as_ref().len());
    name.len() + value.data_type.len() + text + binary
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::Window;

    fn message() -> Message {
        Message::builder()
            .message_id("m-1")
            .receipt_handle("very-secret-handle")
            .body("very-secret-body")
            .attributes(MessageSystemAttributeName::SentTimestamp, "1700000000123")
            .attributes(MessageSystemAttributeName::ApproximateReceiveCount, "2")
            .build()
    }

    #[tokio::test]
    async fn debug_shows_neither_handle_nor_body() {
        let share = Window::new(1, 1000).reserve().await.share(1);
        let delivery = Delivery::new(message(), Instant::now(), share).unwrap();
        let shown = format!("{delivery:?} {:?}", delivery.handle);
        assert!(shown.contains("m-1"));
        assert!(!shown.contains("very-secret"));
    }

    #[tokio::test]
    async fn a_record_carries_what_the_queue_said() {
        let share = Window::new(1, 1000).reserve().await.share(1);
        let record = Delivery::new(message(), Instant::now(), share).unwrap().record();
        assert_eq!(record.message_id, "m-1");
        assert_eq!(record.body.as_deref(), Some(b"very-secret-body".as_slice()));
        assert_eq!((record.sent_timestamp_ms, record.receive_count), (1_700_000_000_123, 2));
    }

    #[tokio::test]
    async fn a_message_without_a_receipt_handle_is_no_delivery() {
        let share = Window::new(1, 1000).reserve().await.share(1);
        let message = Message::builder().message_id("m-1").build();
        assert!(Delivery::new(message, Instant::now(), share).is_none());
    }
}
