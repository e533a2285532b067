//! Counts the commits of all committers.

use std::sync::atomic::{AtomicU64, Ordering};

/// A commit that was made since a segment began to fail shows that the database works and the segment does
/// not.
#[derive(Debug, Default)]
pub(crate) struct CommitCount(AtomicU64);

impl CommitCount {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
