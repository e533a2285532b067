//! The contract between Veilpost's services, `veilpost/v1/veilpost.proto`, and what every service needs to
//! speak it.
//!
//! ```text
//!  reader ══ RawBatch ══> masker ══ MaskedBatch ══> writer
//!         <══ Receipt ═══        <═══ Receipt ═════
//! ```
//!
//! Batches travel one way on a stream and receipts the other. A receipt has one outcome per record, by
//! position; a record without an outcome stays in its queue. Here is a batch of two, and the receipt of a
//! masker that rejects the second and has the first one's outcome from a writer:
//!
//! ```
//! use veilpost_proto::ReceiptBuilder;
//! use veilpost_proto::v1::{Outcome, RawBatch, RawRecord, Reason, Receipt};
//!
//! let record = |id: &str, body: &'static str| RawRecord {
//!     message_id: id.to_owned(),
//!     body: Some(body.into()),
//!     ..RawRecord::default()
//! };
//! let batch = RawBatch {
//!     id: 1,
//!     records: vec![record("m1", r#"{"user_id": "u1"}"#), record("m2", "not JSON")],
//!     ..RawBatch::default()
//! };
//!
//! let mut receipt = ReceiptBuilder::new(batch.id, batch.records.len());
//! receipt.reject(1, Reason::NotJson, "the body is not JSON".to_owned());
//! let writers = Receipt { outcomes: vec![Outcome::Stored.byte()], ..Receipt::default() };
//! receipt.merge(&[0], writers)?;
//!
//! let receipt = receipt.finish();
//! assert_eq!(receipt.outcomes, [Outcome::Stored.byte(), Outcome::Rejected.byte()]);
//! assert_eq!(receipt.rejections[0].reason(), Reason::NotJson);
//! # Ok::<(), veilpost_proto::ReceiptLengthMismatch>(())
//! ```
//!
//! - [`v1`]: the generated messages, clients and servers.
//! - [`masked`]: masked records, which stay encoded from the masker to the statement that stores them.
//! - [`frame`]: the check that a message does not take more memory than any batch should.
//! - [`ReceiptBuilder`]: puts a receipt together, in any order and from parts.
//!
//! No `Debug` output of this crate shows a value that a producer wrote.

#![warn(missing_docs)]
#![warn(clippy::missing_errors_doc)]

mod codec;
pub mod frame;
pub mod masked;
mod names;
mod receipt_builder;
mod repeated_fields;
mod secrecy;
#[allow(
    clippy::pedantic,
    clippy::as_conversions,
    clippy::missing_errors_doc,
    missing_debug_implementations,
    missing_docs,
    reason = "generated from veilpost.proto"
)]
pub mod v1;
mod wire;

pub use codec::{Codec, Decoder, Encoder, encode};
pub use frame::{MAX_BATCH_BYTES, MAX_ROWS};
pub use receipt_builder::{ReceiptBuilder, ReceiptLengthMismatch};
pub use wire::Malformed;
