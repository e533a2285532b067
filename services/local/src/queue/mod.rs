//! The embedded SQS-compatible queue, and how the commands talk to any queue.
//!
//! `state` is the queues as a pure state machine, `server` puts it behind HTTP, and `embedded` runs the
//! server within this process.

mod client;
mod embedded;
mod queue_client;
mod sender;
mod server;
mod state;
mod trace;

pub use client::{CREDENTIALS, REGION, client_for};
pub use embedded::{EmbeddedQueue, QueuePair};
pub use queue_client::{QueueClient, in_one_line};
pub use sender::{Sender, Sent};
pub use veilpost_sqs::Call;
