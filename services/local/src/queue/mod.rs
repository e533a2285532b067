//! The embedded SQS-compatible queue, and how the commands talk to any queue.

mod client;
mod embedded;
mod handler;
mod queue_client;
mod sender;
mod trace;

pub use client::{CREDENTIALS, REGION, client_for};
pub use embedded::{EmbeddedQueue, QueuePair};
pub use queue_client::{QueueClient, in_one_line};
pub use sender::{Sender, Sent};
pub use veilpost_sqs::Call;
