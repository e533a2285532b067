//! Veilpost's reader: receives from Amazon SQS, keeps messages hidden while they are in flight, and settles them.
//!
//! No other part of Veilpost has a handle on the queue.

mod backlog;
#[path = "../../reader-core/src/batcher.rs"]
mod batcher;
mod ca_bundle;
mod call_metrics;
#[path = "../../reader-core/src/call_pool.rs"]
mod call_pool;
mod client;
#[path = "../../reader-core/src/concurrency.rs"]
mod concurrency;
mod dead_letter;
mod dead_letter_message;
mod delete;
mod delivery;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod heartbeat;
#[path = "../../reader-core/src/in_flight.rs"]
mod in_flight;
#[path = "../../reader-core/src/known_rejects.rs"]
mod known_rejects;
mod metrics;
mod pipeline;
mod preflight;
mod queue;
mod receive;
mod release;
#[path = "../../reader-core/src/retry.rs"]
mod retry;
mod service;
mod settings;
#[path = "../../reader-core/src/settlement.rs"]
mod settlement;
#[path = "../../reader-core/src/settler.rs"]
mod settler;
#[path = "../../reader-core/src/spans.rs"]
mod spans;
mod trace_context;
#[path = "../../reader-core/src/window.rs"]
mod window;

pub use service::Reader;
pub use settings::{OnReject, Settings};
pub use settlement::{Rejection, Settlement, settlements};
