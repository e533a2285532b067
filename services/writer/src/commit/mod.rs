//! Committing: batches that wait are merged and stored over a few connections.
//!
//! A stream puts a [`PendingBatch`] into the [`BatchQueue`]. A [`Committer`] takes several of them as one
//! `CommitBatch`; a `CommitRun` stores that batch in `Segment`s, each by one statement. When a statement
//! fails, `FailureHistory` decides on a `Recovery`: retry, split, search for the records that fail, reject,
//! leave, or hold back. The `Plan` keeps what is still to be stored and what is held back. A run that holds
//! records is suspended, and its committer goes on with other batches until the run's next turn.

mod commit_batch;
mod commit_count;
mod commit_run;
mod committer;
mod held;
mod insert;
mod pending_batch;
mod plan;
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
