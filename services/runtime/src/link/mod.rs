//! The link to the service downstream: one stream to every address that its name resolves to, batches one way
//! and receipts the other, and no batch lost when a stream breaks.
//!
//! [`run_link`] takes batches from an [`OutgoingSource`], each with a channel for its receipt. The
//! dispatcher, which does no I/O, decides which stream gets which batch; one task per address keeps the
//! stream open.
//!
//! A batch whose stream ends is sent again on another one. A batch whose streams break again and again may be
//! what breaks them: its records are sent one at a time, and a record that breaks a stream even alone is left
//! in the source.
//!
//! A receipt has a deadline. A stream without one in time is replaced, and its batches move: a peer that
//! answers pings and never a batch holds nothing for ever.

mod acceptance;
mod batch;
mod codec;
mod connect;
mod dispatcher;
mod downstream;
mod driver;
mod feature;
mod first_bytes;
mod in_flight_batch;
mod network;
mod outgoing;
mod resolve;
mod settings;
#[cfg(test)]
mod simulation;
mod stream_task;

pub use acceptance::Acceptance;
pub use batch::LinkBatch;
pub use downstream::{Downstream, ToMasker, ToWriter};
pub use driver::run_link;
pub use feature::Feature;
pub use outgoing::{Outgoing, OutgoingSource};
pub use settings::LinkSettings;
