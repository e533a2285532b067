//! Masked records as bytes: a masker encodes each record once, a batch carries it encoded, and a writer reads
//! its values in place.
//!
//! prost would decode every value into a string of its own, which nothing needs. So `build.rs` declares
//! [`MaskedBatch::records`] as bytes; on the wire that is the same.
//!
//! ```
//! use veilpost_proto::masked::{ValueRef, RecordEncoder, read_record};
//! use veilpost_proto::v1::{MaskedRecord, Value, value::Kind};
//!
//! let mut encoder = RecordEncoder::default();
//! encoder.push(&MaskedRecord {
//!     message_id: "m1".to_owned(),
//!     sent_timestamp_ms: 1_790_000_000_000,
//!     values: vec![Value { kind: Some(Kind::Text("ios".to_owned())) }, Value { kind: None }],
//!     ..MaskedRecord::default()
//! });
//! let records = encoder.finish();
//!
//! let mut values = Vec::new();
//! let header = read_record(&records[0], |value, _| values.push(value))?;
//! assert_eq!(header.message_id, "m1");
//! assert_eq!(values, [Some(ValueRef::Text("ios")), None]);
//! # Ok::<(), veilpost_proto::Malformed>(())
//! ```

mod encoder;
mod reader;

pub use encoder::RecordEncoder;
pub use reader::{RecordHeader, ValueRef, message_id, read_record};

use std::borrow::Borrow;

use bytes::Bytes;
use prost::{DecodeError, Message};

use crate::v1::{MaskedBatch, MaskedRecord};

impl MaskedBatch {
    /// Encodes `records` as [`MaskedBatch::records`] holds them. For tests and benchmarks; a masker uses a
    /// [`RecordEncoder`].
    pub fn encoded(records: impl IntoIterator<Item = impl Borrow<MaskedRecord>>) -> Vec<Bytes> {
        let mut encoder = RecordEncoder::default();
        for record in records {
            encoder.push(record.borrow());
        }
        encoder.finish()
    }

    /// Decodes the batch's records into copies. For tests; a writer uses [`read_record`].
    ///
    /// # Errors
    ///
    /// When one of the records cannot be decoded.
    pub fn decoded(&self) -> Result<Vec<MaskedRecord>, DecodeError> {
        self.records.iter().map(|record| MaskedRecord::decode(record.as_ref())).collect()
    }
}
