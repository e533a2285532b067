//! Committing: batches that wait are merged and stored over a few connections.
//!
//! A stream puts a [`PendingBatch`] into the [`BatchQueue`]. A [`Committer`] takes several of them as one
//! `CommitBatch`; a `CommitRun` stores that batch in `Segment`s, each by one statement. When a statement
//! fails, `FailureHistory` decides on a `Recovery`: retry, split, search for the records to blame, reject or
//! leave.

mod commit_batch;
mod commit_count;
mod commit_run;
mod committer;
mod insert;
mod pending_batch;
mod queue;
mod recovery;
mod retrying_session;
mod search;
mod segment;
mod validation;

pub(crate) use commit_count::CommitCount;
pub(crate) use committer::Committer;
#[cfg(feature = "bench")]
pub(crate) use insert::{insert, insert_without_ledger};
pub(crate) use pending_batch::PendingBatch;
pub(crate) use queue::{BatchQueue, CommitLimits};
