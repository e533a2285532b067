//! Veilpost's reader: receives from Amazon SQS, keeps messages hidden while they are in flight, and settles them.
//!
//! No other part of Veilpost has a handle on the queue.

mod acquitted;
mod backlog;
mod ca_bundle;
mod calls;
mod client;
mod dead_letter;
mod delete;
mod delivery;
mod drain;
mod heartbeat;
mod in_flight;
mod intake;
mod letter;
mod metrics;
mod pace;
mod poll;
mod problem;
mod producer;
mod queue;
mod reader;
mod receipts;
mod retry;
mod settings;
mod settle;
mod slots;
mod spans;
mod stages;
mod start;
#[cfg(any(test, fuzzing))]
pub mod untrusted;
mod window;

pub use reader::Reader;
pub use settings::{OnReject, Settings};
pub use settle::{Rejection, Settlement, settlements};
