//! Tests of the whole reader, between the embedded queue over HTTP and a scripted masker over gRPC, and of
//! what it relies on of SQS.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a double or helper that fails is a failed test"
)]

mod concurrency;
mod contract;
mod draining;
mod harness;
mod hiding;
mod masker;
mod pausing;
mod settling;
mod sqs;
mod starting;
