//! The embedded SQS-compatible queue, and how the commands talk to any queue.

mod client;
mod embedded;
mod handler;
mod sender;
mod target;
mod trace;

pub use client::{CREDENTIALS, REGION, client_for};
pub use embedded::{EmbeddedQueue, QueuePair};
pub use sender::{Sender, Sent};
pub use target::{Target, in_one_line};
