//! What streams, committers and upkeep share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::catalogue::Catalogue;
use crate::commit::{JobQueue, Limits};
use crate::database::Database;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) database: Database,
    pub(crate) catalogue: Catalogue,
    pub(crate) queue: JobQueue,
    pub(crate) limits: Limits,
    pub(crate) memory: Memory,
    commits: AtomicU64,
}

/// The memory that all batches without a receipt may take together, in bytes of their encoding.
#[derive(Debug)]
pub(crate) struct Memory {
    free: Arc<Semaphore>,
    size: u32,
}

impl Memory {
    fn new(bytes: usize) -> Self {
        let size = u32::try_from(bytes).unwrap_or(u32::MAX).max(1);
        let permits = usize::try_from(size).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(permits)), size }
    }

    /// Waits until a batch of this size fits; one that is larger than all memory gets all of it.
    pub(crate) async fn share(&self, bytes: usize) -> OwnedSemaphorePermit {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.size);
        let free = Arc::clone(&self.free);
        free.acquire_many_owned(permits).await.expect("the semaphore is never closed")
    }
}

impl Shared {
    pub(crate) fn new(database: Database, catalogue: Catalogue, limits: Limits, memory: usize) -> Self {
        Self {
            database,
            catalogue,
            queue: JobQueue::default(),
            limits,
            memory: Memory::new(memory),
            commits: AtomicU64::new(0),
        }
    }

    /// How many statements all committers have committed.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    pub(crate) fn count_commit(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }
}
