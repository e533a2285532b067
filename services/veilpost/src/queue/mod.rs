//! The embedded SQS-compatible queue, and how the commands talk to any queue.

mod client;
mod embedded;
mod handler;
mod sender;
mod trace;

pub use client::{Target, client_for, in_one_line};
pub use embedded::{CREDENTIALS, EmbeddedQueue, QueuePair, REGION};
pub use sender::{Sender, Sent};
