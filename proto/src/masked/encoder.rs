//! Encodes masked records once, when the masker makes them.

use std::fmt;

use bytes::Bytes;
use prost::Message;

use crate::v1::MaskedRecord;

/// Encodes records one after the other into memory that they share, which is cheaper than one allocation a
/// record.
#[derive(Default)]
pub struct RecordEncoder {
    encoded: Vec<u8>,
    /// Where each record ends.
    ends: Vec<usize>,
}

impl RecordEncoder {
    /// An encoder with room for `bytes` bytes; it grows when they are not enough.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { encoded: Vec::with_capacity(bytes), ends: Vec::new() }
    }

    /// Adds a record, and returns its encoded size in bytes.
    pub fn push(&mut self, record: &MaskedRecord) -> usize {
        let before = self.encoded.len();
        // The only error is memory that is too small, and a vector grows.
        record.encode(&mut self.encoded).unwrap_or_default();
        self.ends.push(self.encoded.len());
        self.encoded.len() - before
    }

    /// Takes out the record that was added last; does nothing when there is none.
    pub fn pop(&mut self) {
        self.ends.pop();
        self.encoded.truncate(self.ends.last().copied().unwrap_or_default());
    }

    /// The records, in order, as [`MaskedBatch::records`](crate::v1::MaskedBatch) holds them.
    pub fn finish(mut self) -> Vec<Bytes> {
        if self.encoded.len() < self.encoded.capacity() / 2 {
            self.encoded.shrink_to_fit();
        }
        let encoded = Bytes::from(self.encoded);
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| encoded.slice(begin..*end)).collect()
    }
}

/// Shows the number of records and never a value.
impl fmt::Debug for RecordEncoder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RecordEncoder").field("records", &self.ends.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masked::message_id;

    #[test]
    fn a_record_that_was_taken_out_is_gone() {
        let record = |id: &str| MaskedRecord { message_id: id.to_owned(), ..MaskedRecord::default() };
        let mut encoder = RecordEncoder::default();
        assert_eq!(encoder.push(&record("a")), record("a").encoded_len());
        encoder.push(&record("bcd"));
        encoder.pop();
        encoder.push(&record("e"));
        let records = encoder.finish();
        let ids: Vec<_> = records.iter().map(|record| message_id(record)).collect();
        assert_eq!(ids, ["a", "e"]);
        let mut nothing = RecordEncoder::default();
        nothing.pop();
        assert!(nothing.finish().is_empty());
    }
}
