//! The reader as a whole: against the embedded queue over HTTP and a scripted masker over gRPC, and what it relies on
//! of the queue.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a double or helper that fails is a failed test"
)]

mod concurrency;
mod contract;
mod draining;
mod harness;
mod masker;
mod pausing;
mod settling;
mod sqs;
mod starting;
