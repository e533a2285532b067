//! Veilpost's reader: receives from Amazon SQS, keeps messages hidden while they are in flight, and settles them.
//!
//! No other part of Veilpost has a handle on the queue.

mod backlog;
mod batcher;
mod ca_bundle;
mod call_metrics;
mod call_pool;
mod client;
mod concurrency;
mod dead_letter;
mod dead_letter_message;
mod delete;
mod delivery;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod heartbeat;
mod in_flight;
mod known_rejects;
mod metrics;
mod pipeline;
mod preflight;
mod queue;
mod receive;
mod release;
mod retry;
mod service;
mod settings;
mod settlement;
mod settler;
mod spans;
mod trace_context;
mod window;

pub use service::Reader;
pub use settings::{OnReject, Settings};
pub use settlement::{Rejection, Settlement, settlements};
