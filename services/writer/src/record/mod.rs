//! Records as they wait for their commit.

mod bits;
mod claim;
mod outcome;
mod prepare;

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use veilpost_proto::masked::message_id;

pub(crate) use claim::Claim;
pub(crate) use outcome::RecordOutcome;
pub(crate) use prepare::{PreparedBatch, prepare};

use crate::ledger::Key;

/// A record whose values have been converted to the input of their columns' types.
pub(crate) struct Record {
    /// Its position in its batch.
    pub(crate) position: usize,
    pub(crate) key: Key,
    /// When SQS took the message, in milliseconds since the Unix epoch.
    pub(crate) sent_ms: i64,
    /// Whether the queue will not deliver the message again by itself.
    pub(crate) last_receive: bool,
    /// As it came, still a part of its batch's message.
    encoded: Bytes,
    cells: Vec<Cell>,
    /// The columns, by position, whose values only Postgres can judge.
    unsure: Vec<usize>,
}

/// What goes into one column of one row.
enum Cell {
    Null,
    /// The text that lies here in the encoded record.
    Given(Range<usize>),
    Made(String),
}

/// Never shows a value.
impl fmt::Debug for Record {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Record").field("message_id", &self.message_id()).finish_non_exhaustive()
    }
}

impl Record {
    /// A record without columns, sent in 1970.
    #[cfg(test)]
    pub(crate) fn for_tests(position: usize) -> Self {
        use veilpost_proto::v1::MaskedRecord;

        let record = MaskedRecord { message_id: position.to_string(), ..MaskedRecord::default() };
        Self {
            position,
            key: Key::new("p", &record.message_id, 0),
            sent_ms: 0,
            last_receive: false,
            encoded: prost::Message::encode_to_vec(&record).into(),
            cells: Vec::new(),
            unsure: Vec::new(),
        }
    }

    pub(crate) fn message_id(&self) -> &str {
        message_id(&self.encoded)
    }

    /// How many columns the row has.
    pub(crate) fn columns(&self) -> usize {
        self.cells.len()
    }

    /// The input of one column, None for NULL. It is UTF-8: values are read as texts before they become
    /// cells.
    pub(crate) fn input(&self, column: usize) -> Option<&[u8]> {
        match self.cells.get(column)? {
            Cell::Null => None,
            Cell::Given(range) => self.encoded.get(range.clone()),
            Cell::Made(text) => Some(text.as_bytes()),
        }
    }

    /// About as many bytes as all inputs have together: the message id counts too, but some inputs are longer
    /// than the values that they were made from.
    pub(crate) fn bytes(&self) -> usize {
        self.encoded.len()
    }

    /// The input of one column if only Postgres can judge it; None for NULL and for inputs that are known to
    /// fit.
    pub(crate) fn unsure_input(&self, column: usize) -> Option<&str> {
        let unsure = self.unsure.contains(&column);
        unsure.then(|| std::str::from_utf8(self.input(column)?).ok()).flatten()
    }
}
