//! A message, and what is known of its receives.

use std::sync::Arc;

use uuid::{Builder, Uuid};

use super::Millis;
use super::digest::md5_of;
use super::handle::ReceiptHandle;

/// What the sender gave; it never changes.
#[derive(PartialEq, Eq)]
pub(in crate::queue) struct Content {
    pub(in crate::queue) body: Box<str>,
    pub(in crate::queue) md5_of_body: [u8; 16],
    /// Sorted by name.
    pub(in crate::queue) attributes: Box<[Attribute]>,
    /// The system attribute `AWSTraceHeader`.
    pub(in crate::queue) trace_header: Option<Box<str>>,
}

/// A message attribute.
#[derive(PartialEq, Eq)]
pub(in crate::queue) struct Attribute {
    pub(in crate::queue) name: Box<str>,
    pub(in crate::queue) data_type: Box<str>,
    pub(in crate::queue) value: AttributeValue,
}

#[derive(PartialEq, Eq)]
pub(in crate::queue) enum AttributeValue {
    Text(Box<str>),
    Binary(Box<[u8]>),
}

/// A message in a queue.
#[derive(Clone)]
pub(in crate::queue) struct Message {
    pub(in crate::queue) id: Uuid,
    pub(in crate::queue) content: Arc<Content>,
    pub(in crate::queue) first_received: Option<Millis>,
    /// Receives from all queues that it was in.
    pub(in crate::queue) receives: u32,
    /// Receives before it came into its queue.
    receives_elsewhere: u32,
    /// The ARN of the queue from which SQS moved it to this dead-letter queue.
    pub(in crate::queue) source: Option<Arc<str>>,
}

/// One receive of a message.
pub(in crate::queue) struct Delivery {
    pub(in crate::queue) message: Message,
    pub(in crate::queue) sent: Millis,
    pub(in crate::queue) handle: ReceiptHandle,
}

impl Content {
    pub(in crate::queue) fn new(
        body: &str,
        mut attributes: Vec<Attribute>,
        trace_header: Option<Box<str>>,
    ) -> Self {
        attributes.sort_unstable_by(|left, right| left.name.cmp(&right.name));
        Self { body: body.into(), md5_of_body: md5_of(body), attributes: attributes.into(), trace_header }
    }

    /// Bytes of body and attributes, as SQS counts them.
    pub(in crate::queue) fn size(&self) -> usize {
        self.body.len() + self.attributes.iter().map(Attribute::size).sum::<usize>()
    }
}

impl Attribute {
    fn size(&self) -> usize {
        let value = match &self.value {
            AttributeValue::Text(text) => text.len(),
            AttributeValue::Binary(bytes) => bytes.len(),
        };
        self.name.len() + self.data_type.len() + value
    }
}

impl Message {
    /// A message that nobody has received, with an id of its own.
    pub(in crate::queue) fn new(content: Arc<Content>) -> Self {
        Self {
            id: Builder::from_random_bytes(rand::random()).into_uuid(),
            content,
            first_received: None,
            receives: 0,
            receives_elsewhere: 0,
            source: None,
        }
    }

    /// How often it was received from the queue that it is in.
    pub(super) fn receives_here(&self) -> u32 {
        self.receives - self.receives_elsewhere
    }

    pub(super) fn note_receive(&mut self, now: Millis) {
        self.receives = self.receives.saturating_add(1);
        self.first_received.get_or_insert(now);
    }

    /// The same message in the dead-letter queue of `source`.
    pub(super) fn dead_lettered(self, source: Arc<str>) -> Self {
        Self { receives_elsewhere: self.receives, source: Some(source), ..self }
    }
}
