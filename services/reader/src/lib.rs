//! Veilpost's reader of Amazon SQS: receives messages, keeps them hidden while they are in flight, and
//! settles them.
//!
//! No other part of Veilpost has access to the queue. What does not depend on SQS is in
//! [`veilpost_reader_core`].

mod attributes;
mod backlog;
mod ca_bundle;
mod call_metrics;
mod client;
mod dead_letter_message;
mod dead_letter_sender;
mod delete;
mod entries;
mod extension;
mod extension_calls;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod heartbeat;
#[cfg(test)]
mod interleavings;
mod leave;
mod limits;
mod max_receives;
mod message;
mod metrics;
mod outage;
mod preflight;
mod queue;
mod queue_facts;
mod receipt_handle;
mod receive;
mod receive_gate;
mod release;
mod service;
mod settings;
mod spans;
mod stages;
mod trace_context;

pub use service::{Reader, run};
pub use settings::{OnReject, Settings};
