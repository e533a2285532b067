//! A bound on the memory that everything in work may take together, in bytes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::numbers::{to_u32, to_usize};

/// A number of bytes that holders share; clones share the same bytes.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// use veilpost_runtime::ByteBudget;
///
/// let budget = ByteBudget::new(1_000);
/// let batch = budget.acquire(600).await;
/// // A second batch of 600 bytes would wait here until the first one is dropped.
/// drop(batch);
/// let larger_than_all = budget.acquire(5_000).await;
/// # drop(larger_than_all);
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct ByteBudget {
    free: Arc<Semaphore>,
    total: u32,
}

/// Bytes of a [`ByteBudget`]; free again when dropped.
#[derive(Debug)]
pub struct ByteBudgetPermit {
    _permit: OwnedSemaphorePermit,
}

impl ByteBudget {
    /// A budget of `bytes` bytes: at least 1, and at most 4 GiB.
    pub fn new(bytes: usize) -> Self {
        let total = to_u32(bytes).max(1);
        let permits = to_usize(total).min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(permits)), total }
    }

    /// Waits until `bytes` bytes are free, and takes them. A request for more than the whole budget gets all
    /// of it, so that nothing waits for ever.
    ///
    /// Requests are served in order, even when a later one would already fit. Cancel safe: a
    /// request that is dropped takes nothing, and loses its turn.
    pub async fn acquire(&self, bytes: usize) -> ByteBudgetPermit {
        let permits = to_u32(bytes).min(self.total);
        let free = Arc::clone(&self.free);
        let permit = free.acquire_many_owned(permits).await.expect("the semaphore is never closed");
        ByteBudgetPermit { _permit: permit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn what_does_not_fit_waits_until_bytes_are_free_again() {
        let budget = ByteBudget::new(10);
        let first = budget.acquire(6).now_or_never().unwrap();
        let second = budget.clone().acquire(4).now_or_never().unwrap();
        assert!(budget.acquire(1).now_or_never().is_none());
        drop(first);
        let third = budget.acquire(6).now_or_never();
        assert!(third.is_some());
        drop((second, third));
    }

    #[test]
    fn what_is_larger_than_the_budget_gets_all_of_it() {
        let budget = ByteBudget::new(10);
        let all = budget.acquire(usize::MAX).now_or_never().unwrap();
        assert!(budget.acquire(1).now_or_never().is_none());
        drop(all);
        assert!(budget.acquire(10).now_or_never().is_some());
    }

    #[test]
    fn a_budget_of_nothing_still_lets_one_through_at_a_time() {
        let budget = ByteBudget::new(0);
        let one = budget.acquire(100).now_or_never().unwrap();
        assert!(budget.acquire(100).now_or_never().is_none());
        drop(one);
    }
}
