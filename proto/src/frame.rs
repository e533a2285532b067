//! Refuses a message that is small on the wire and large in memory before it is decoded.
//!
//! An empty record takes two bytes on the wire and a hundred in memory. Without this check, a message within
//! gRPC's limit could claim several hundred megabytes.

use bytes::Bytes;
use prost::Message;
use tonic::Status;

use crate::wire::{WireFields, WireValue};

/// The largest encoded batch that a sender puts on a stream, in bytes; gRPC's default receive limit is 4 MiB.
pub const MAX_BATCH_BYTES: usize = 3 * 1024 * 1024;

/// The most rows that one record may have.
pub const MAX_ROWS: usize = 10_000;

/// The bytes of memory that the elements of a message's repeated fields may take, without the texts in them.
/// The largest batch of the smallest records, a message id and a NULL each, still fits.
pub const MAX_ELEMENT_BYTES: usize = 16 * MAX_BATCH_BYTES;

/// The bytes of memory that count for one masked record. It stays encoded and takes fewer itself, but what
/// the writer makes of it, without its values, takes up to this many.
pub const MASKED_RECORD_BYTES: usize = 256;

/// A repeated field of a message.
#[derive(Debug)]
pub struct Repeated {
    pub(crate) number: u64,
    /// The bytes of memory that count for each element.
    pub(crate) bytes: usize,
    /// The repeated fields of an element.
    pub(crate) within: &'static [Repeated],
}

/// A message that a peer sends, and whose size in memory is therefore checked before it is decoded.
pub trait Frame: Message + Default {
    /// The repeated fields of the message; a field that is missing here is not counted.
    const REPEATED: &'static [Repeated];
}

/// Decodes a message.
///
/// # Errors
///
/// `INVALID_ARGUMENT` when its elements would take more than [`MAX_ELEMENT_BYTES`] of memory, `INTERNAL` when
/// it cannot be decoded. No message repeats a value.
pub fn decode<M: Frame>(encoded: Bytes) -> Result<M, Status> {
    if element_bytes(&encoded, M::REPEATED) > MAX_ELEMENT_BYTES {
        return Err(Status::invalid_argument("the message has more elements than any batch has"));
    }
    // The error names fields and wire types, never a value.
    M::decode(encoded).map_err(|error| Status::internal(error.to_string()))
}

/// The bytes that the elements take, as far as the message can be read: a message that cannot be read to its
/// end is not decoded either.
fn element_bytes(message: &[u8], repeated: &[Repeated]) -> usize {
    let mut total: usize = 0;
    for (number, content) in WireFields::of(message).map_while(Result::ok) {
        if let Some(field) = repeated.iter().find(|field| field.number == number)
            && let WireValue::Bytes(content) = content
        {
            total = total.saturating_add(field.bytes);
            if !field.within.is_empty() {
                total = total.saturating_add(element_bytes(content, field.within));
            }
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{MaskedBatch, MaskedRecord, OnConflict, RawBatch, Receipt, Target, Value};
    use proptest::prelude::*;

    /// gRPC's own limit.
    const MAX_MESSAGE: usize = 4 * 1024 * 1024;

    fn decode<M: Frame>(encoded: &[u8]) -> Result<M, Status> {
        super::decode(Bytes::copy_from_slice(encoded))
    }

    fn refused<M: Frame>(encoded: &[u8]) -> bool {
        decode::<M>(encoded).is_err_and(|status| status.code() == tonic::Code::InvalidArgument)
    }

    #[test]
    fn millions_of_empty_elements_are_refused_in_each_message() {
        let empty = |number: u8| vec![[number << 3 | 2, 0]; MAX_MESSAGE / 2 - 8].concat();
        assert!(refused::<RawBatch>(&empty(3)));
        assert!(refused::<MaskedBatch>(&empty(3)));
        assert!(refused::<MaskedBatch>(&empty(7)));
        assert!(refused::<Receipt>(&empty(3)));
        assert!(decode::<RawBatch>(&empty(9)).is_ok(), "unknown fields are skipped");
    }

    #[test]
    fn groups_hide_no_elements() {
        let hidden =
            [vec![3 << 3 | 3], vec![[3 << 3 | 2, 0]; MAX_MESSAGE / 2 - 8].concat(), vec![3 << 3 | 4]]
                .concat();
        assert!(decode::<RawBatch>(&hidden).is_err());
    }

    #[test]
    fn the_largest_batch_of_the_smallest_records_is_accepted() {
        let values = vec![Value::default()];
        let record = MaskedRecord {
            message_id: "m".repeat(36),
            sent_timestamp_ms: 1_700_000_000_000,
            values,
            ..MaskedRecord::default()
        };
        let size = record.encoded_len() + 2;
        let records = MaskedBatch::encoded(vec![record; MAX_BATCH_BYTES / size]);
        let batch = MaskedBatch { records, ..MaskedBatch::default() };
        let encoded = batch.encode_to_vec();
        assert!(encoded.len() > MAX_BATCH_BYTES - 2 * size && encoded.len() <= MAX_BATCH_BYTES);
        assert_eq!(decode::<MaskedBatch>(&encoded).unwrap(), batch);
    }

    #[test]
    fn wrong_lengths_are_errors() {
        for lie in [
            "1a05",
            "1affffffff0f",
            "1affffffffffffffffff01",
            "1a020a05",
            "08ffffffffffffffffffff",
            "1b",
            "1f",
        ] {
            let bytes: Vec<u8> = (0..lie.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&lie[at..at + 2], 16).unwrap())
                .collect();
            assert!(decode::<RawBatch>(&bytes).is_err(), "{lie}");
        }
    }

    proptest! {
        #[test]
        fn the_elements_that_are_counted_are_those_that_are_decoded(records in 0usize..50, columns in 0usize..50, key in 0usize..50) {
            let records = vec![Bytes::from_static(&[1 << 3 | 2, 1, b'm']); records];
            let on_conflict = OnConflict { key: vec!["k".to_owned(); key], ..OnConflict::default() };
            let columns_of_target = vec!["c".to_owned(); columns];
            let target = Target { columns: columns_of_target, on_conflict: Some(on_conflict), ..Target::default() };
            let batch = MaskedBatch { id: 7, records, target: Some(target), ..MaskedBatch::default() };
            let expected = batch.records.len() * MASKED_RECORD_BYTES + (columns + key) * size_of::<String>();
            prop_assert_eq!(element_bytes(&batch.encode_to_vec(), MaskedBatch::REPEATED), expected);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>, tagged in prop::collection::vec(prop::sample::select(&[0x08u8, 0x12, 0x1a, 0x22, 0x2a, 0x1b, 0x1c, 0, 1, 2, 3, 0x7f, 0xff][..]), 0..64)) {
            for bytes in [&bytes, &tagged] {
                drop((decode::<RawBatch>(bytes), decode::<MaskedBatch>(bytes), decode::<Receipt>(bytes)));
            }
        }
    }
}
