//! The contract between Veilpost's services, generated from `veilpost/v1/veilpost.proto`.

/// Version 1 of the contract. It evolves by addition only: a field number is never reused.
#[allow(
    clippy::pedantic,
    clippy::as_conversions,
    missing_debug_implementations,
    reason = "generated from veilpost.proto"
)]
pub mod v1 {
    tonic::include_proto!("veilpost.v1");
}

mod codec;
pub mod frame;
pub mod masked;
mod names;
mod receipt_builder;
mod secrecy;
mod wire;

pub use codec::{Codec, Decoder, Encoder, encode};
pub use receipt_builder::{ReceiptBuilder, ReceiptLengthMismatch};
pub use wire::Malformed;

/// The largest encoded batch that a sender puts on a stream, in bytes; gRPC's default receive limit is 4 MiB.
pub const MAX_BATCH_BYTES: usize = 3 * 1024 * 1024;
