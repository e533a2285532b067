//! A message as SQS delivers it, and what the masker gets of it.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use bytes::Bytes;
use tokio::time::Instant;
use veilpost_proto::v1::RawRecord;
use veilpost_reader_core::{Delivery, InFlight};

use crate::attributes::{self, Attributes};
use crate::receipt_handle::ReceiptHandle;
use crate::trace_context;

/// A message from SQS that is not settled yet.
pub(crate) type SqsDelivery = Delivery<SqsMessage>;

/// The deliveries from SQS that are not settled yet.
pub(crate) type SqsInFlight = InFlight<SqsMessage>;

/// A message and what is needed to hide, delete or dead-letter it.
pub(crate) struct SqsMessage {
    pub(crate) handle: ReceiptHandle,
    pub(crate) body: Option<Bytes>,
    /// Milliseconds since the Unix epoch; 0 when the queue did not say.
    pub(crate) sent_timestamp_ms: i64,
    /// The newest receive included; 0 when the queue did not say.
    pub(crate) receive_count: u32,
    pub(crate) attributes: Attributes,
    /// Its record was sent with the knowledge that this receive is the last one.
    pub(crate) is_sent_as_last: bool,
    /// The `AWSTraceHeader` system attribute.
    pub(crate) trace_header: Option<String>,
    /// When it was received for the last time.
    pub(crate) last_received: Instant,
    /// When the message was last hidden for a whole visibility timeout; `None` once SQS has refused to extend
    /// it, until it is received again.
    pub(crate) hidden_since: Option<Instant>,
    /// How often SQS has refused to extend it.
    pub(crate) losses: u32,
    /// Its long time in flight has been logged.
    pub(crate) is_warned: bool,
}

/// Shows nothing of the message.
impl fmt::Debug for SqsMessage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SqsMessage")
            .field("receive_count", &self.receive_count)
            .finish_non_exhaustive()
    }
}

impl SqsMessage {
    /// Takes over the newest receive of the same message: only its handle is sure to hide and delete it.
    ///
    /// Answers may overtake each other. SQS counts receives, so the one with the lower count is the older
    /// one.
    pub(crate) fn adopt(&mut self, newer: Self) {
        if newer.receive_count != 0 && newer.receive_count < self.receive_count {
            return;
        }
        self.handle = newer.handle;
        self.receive_count = newer.receive_count;
        self.last_received = newer.last_received;
        self.hidden_since = newer.hidden_since;
    }
}

/// The id of a message that was received just now, and what is needed to settle it; `None` when the message
/// has no id or no receipt handle, so that nothing can settle it.
pub(crate) fn incoming(message: Message) -> Option<(String, SqsMessage)> {
    let received = Instant::now();
    let mut system = message.attributes.unwrap_or_default();
    let sqs = SqsMessage {
        handle: ReceiptHandle::new(message.receipt_handle?),
        body: message.body.map(Bytes::from),
        sent_timestamp_ms: number(&system, &MessageSystemAttributeName::SentTimestamp),
        receive_count: number(&system, &MessageSystemAttributeName::ApproximateReceiveCount),
        attributes: message.message_attributes.unwrap_or_default(),
        is_sent_as_last: false,
        trace_header: system.remove(&MessageSystemAttributeName::AwsTraceHeader),
        last_received: received,
        hidden_since: Some(received),
        losses: 0,
        is_warned: false,
    };
    Some((message.message_id?, sqs))
}

/// What the masker gets of a message. The body is shared, not copied.
pub(crate) fn record(message_id: &str, message: &SqsMessage) -> RawRecord {
    RawRecord {
        message_id: message_id.to_owned(),
        body: message.body.clone(),
        sent_timestamp_ms: message.sent_timestamp_ms,
        receive_count: message.receive_count,
        producer: trace_context::producer(&message.attributes, message.trace_header.as_deref()),
        // Known when the record is sent.
        last_receive: false,
        attributes: attributes::of_contract(&message.attributes),
    }
}

/// How many bytes of the in-flight window a message takes: its body and its attributes.
pub(crate) fn bytes(message: &Message) -> usize {
    let attributes = message.message_attributes.as_ref();
    message.body.as_ref().map_or(0, String::len) + attributes.map_or(0, attributes::total_bytes)
}

fn number<N>(system: &HashMap<MessageSystemAttributeName, String>, name: &MessageSystemAttributeName) -> N
where
    N: FromStr + Default,
{
    system.get(name).and_then(|text| text.parse().ok()).unwrap_or_default()
}

#[cfg(any(test, fuzzing))]
pub(crate) mod testing {
    use futures_util::FutureExt;
    use veilpost_reader_core::{Window, WindowLimits, WindowPermit};

    use super::*;

    /// The room of one message.
    pub(crate) fn permit() -> WindowPermit {
        let limits =
            WindowLimits { messages: 1, bytes: 1000, messages_per_receive: 1, largest_message_bytes: 1000 };
        let reserved = Window::new(limits).reserve().now_or_never();
        reserved.expect("an empty window has room").permit(1)
    }

    /// A delivery that has just been received.
    pub(crate) fn delivered(message: Message) -> SqsDelivery {
        let (message_id, message) = incoming(message).expect("it has an id and a handle");
        Delivery::new(message_id, message, Instant::now(), permit())
    }
}

#[cfg(test)]
mod tests {
    use super::testing::delivered;
    use super::*;

    fn message() -> Message {
        Message::builder()
            .message_id("m-1")
            .receipt_handle("very-secret-handle")
            .body("very-secret-body")
            .attributes(MessageSystemAttributeName::SentTimestamp, "1700000000123")
            .attributes(MessageSystemAttributeName::ApproximateReceiveCount, "2")
            .build()
    }

    #[test]
    fn debug_shows_neither_handle_nor_body() {
        let delivery = delivered(message());
        let shown = format!("{delivery:?} {:?} {:?}", delivery.message, delivery.message.handle);
        assert!(shown.contains("m-1"));
        assert!(!shown.contains("very-secret"));
    }

    #[test]
    fn a_record_carries_what_the_queue_said() {
        let (message_id, message) = incoming(message()).unwrap();
        let record = record(&message_id, &message);
        assert_eq!(record.message_id, "m-1");
        assert_eq!(record.body.as_deref(), Some(b"very-secret-body".as_slice()));
        assert_eq!((record.sent_timestamp_ms, record.receive_count), (1_700_000_000_123, 2));
    }

    #[test]
    fn a_message_without_a_receipt_handle_is_no_delivery() {
        let message = Message::builder().message_id("m-1").build();
        assert!(incoming(message).is_none());
    }

    #[test]
    fn the_newest_receive_counts_in_whichever_order_the_answers_come() {
        let receive = |handle: &str, count: &str| {
            let message = Message::builder().message_id("m").receipt_handle(handle);
            let name = MessageSystemAttributeName::ApproximateReceiveCount;
            incoming(message.attributes(name, count).build()).unwrap().1
        };
        let adopted = |mut known: SqsMessage, newer| {
            known.adopt(newer);
            (known.handle.into_text(), known.receive_count)
        };
        assert_eq!(adopted(receive("old", "1"), receive("new", "2")), ("new".to_owned(), 2));
        assert_eq!(adopted(receive("new", "2"), receive("old", "1")), ("new".to_owned(), 2));
        assert_eq!(adopted(receive("old", "2"), receive("uncounted", "")), ("uncounted".to_owned(), 0));
    }
}
