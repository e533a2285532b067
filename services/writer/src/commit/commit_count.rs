//! Counts the commits with rows of all committers.

use std::sync::atomic::{AtomicU64, Ordering};

/// A commit that was made since a segment began to fail shows that the database works and the segment does
/// not.
#[derive(Debug, Default)]
pub(crate) struct CommitCount(AtomicU64);

impl CommitCount {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts a commit that stored `rows` rows. Without rows it shows nothing: no table and no trigger took
    /// part in it.
    pub(super) fn add(&self, rows: usize) {
        self.0.fetch_add(u64::from(rows > 0), Ordering::Relaxed);
    }
}
