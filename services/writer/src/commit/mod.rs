//! Committing: what has queued up is merged and stored over a few connections.

mod committer;
mod job;
mod judge;
mod load;
mod piece;
mod queue;
mod recover;
mod search;

pub(crate) use committer::Committer;
pub(crate) use job::Job;
pub(crate) use queue::{JobQueue, Limits};
