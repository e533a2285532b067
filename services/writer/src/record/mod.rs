//! Records as they wait for their commit.

mod bits;
mod claim;
mod outcome;
mod prepare;

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use veilpost_proto::masked::message_id;
use veilpost_runtime::numbers;

pub(crate) use claim::Claim;
pub(crate) use outcome::RecordOutcome;
pub(crate) use prepare::{PreparedBatch, prepare};

use crate::ledger::Key;

/// A record whose values have been converted to the input of their columns' types. Its rows are stored by one
/// statement, with one key.
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
    /// How many columns each row has.
    columns: u32,
    /// Row by row.
    cells: Vec<Cell>,
    /// The cells, by position, that only Postgres can judge.
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
            columns: 0,
            cells: Vec::new(),
            unsure: Vec::new(),
        }
    }

    pub(crate) fn message_id(&self) -> &str {
        message_id(&self.encoded)
    }

    /// How many columns each row has.
    pub(crate) fn columns(&self) -> usize {
        numbers::to_usize(self.columns)
    }

    /// How many rows it has; mostly one.
    pub(crate) fn rows(&self) -> usize {
        self.cells.len().checked_div(self.columns()).unwrap_or(0)
    }

    /// The inputs of one column, row by row, None for NULL. They are UTF-8: values are read as texts before
    /// they become cells.
    pub(crate) fn inputs(&self, column: usize) -> impl Iterator<Item = Option<&[u8]>> {
        self.cells.iter().skip(column).step_by(self.columns().max(1)).map(|cell| self.input(cell))
    }

    fn input<'a>(&'a self, cell: &'a Cell) -> Option<&'a [u8]> {
        match cell {
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

    /// The inputs of one column that only Postgres can judge.
    pub(crate) fn unsure_inputs(&self, column: usize) -> impl Iterator<Item = &str> {
        let unsure = self.unsure.iter().filter(move |cell| **cell % self.columns().max(1) == column);
        unsure.filter_map(|cell| std::str::from_utf8(self.input(self.cells.get(*cell)?)?).ok())
    }
}
