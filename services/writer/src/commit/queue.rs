//! The queue between streams and committers. It is bounded by the memory that its batches hold.

use std::collections::VecDeque;
use std::pin::pin;

use parking_lot::Mutex;
use tokio::sync::Notify;
use veilpost_runtime::{ByteBudget, ByteBudgetPermit};

use super::PendingBatch;
use crate::metrics;

/// How much goes into one commit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommitLimits {
    pub(crate) rows: usize,
    /// Encoded size of all batches of the commit.
    pub(crate) bytes: usize,
}

#[derive(Debug)]
pub(crate) struct BatchQueue {
    state: Mutex<QueueState>,
    changed: Notify,
    memory: ByteBudget,
}

#[derive(Debug, Default)]
struct QueueState {
    batches: VecDeque<PendingBatch>,
    closed: bool,
}

impl BatchQueue {
    /// `bytes` bounds the encoded size of all batches without a receipt.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), memory: ByteBudget::new(bytes) }
    }

    /// Waits until there is memory for a batch of this size; one that is larger than all memory gets all of
    /// it.
    pub(crate) async fn reserve(&self, bytes: usize) -> ByteBudgetPermit {
        self.memory.acquire(bytes).await
    }

    pub(crate) fn push(&self, batch: PendingBatch) {
        let mut state = self.state.lock();
        state.batches.push_back(batch);
        metrics::queue_depth(state.batches.len());
        drop(state);
        self.changed.notify_one();
    }

    /// After this, [`Self::take`] returns the batches that are left and then None.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_waiters();
    }

    /// Waits for a batch and takes it together with those behind it for the same target, up to the limits;
    /// never waits for more. Cancel safe. None when the queue is closed and empty.
    pub(crate) async fn take(&self, limits: CommitLimits) -> Option<Vec<PendingBatch>> {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            {
                let mut state = self.state.lock();
                let batches = take_from(&mut state.batches, limits);
                metrics::queue_depth(state.batches.len());
                if !state.batches.is_empty() {
                    self.changed.notify_one();
                }
                if !batches.is_empty() {
                    return Some(batches);
                }
                if state.closed {
                    return None;
                }
            }
            changed.await;
        }
    }
}

/// The first batch, whatever its size, and the batches of its target that follow and fit.
fn take_from(queue: &mut VecDeque<PendingBatch>, limits: CommitLimits) -> Vec<PendingBatch> {
    let mut taken: Vec<PendingBatch> = Vec::new();
    let (mut rows, mut bytes) = (0, 0);
    while let Some(next) = queue.front() {
        rows += next.rows();
        bytes += next.bytes;
        let fits = rows <= limits.rows && bytes <= limits.bytes;
        let joins = taken.first().is_none_or(|first| fits && first.target.is_same(&next.target));
        if !joins {
            break;
        }
        taken.extend(queue.pop_front());
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::super::pending_batch::fixtures::{pending, target};
    use super::*;
    use crate::catalogue::fixtures::column;
    use crate::target::ResolvedTarget;
    use proptest::prelude::*;
    use std::sync::Arc;
    use veilpost_proto::v1::Value;

    fn batch(target: &Arc<ResolvedTarget>, records: usize, bytes: usize) -> PendingBatch {
        pending(target, &vec![(0, Value::default()); records], bytes).0
    }

    const LIMITS: CommitLimits = CommitLimits { rows: 10, bytes: 100 };

    #[tokio::test]
    async fn batches_that_wait_are_taken_together() {
        let (queue, target) = (BatchQueue::new(1), target(column("a")));
        for _ in 0..3 {
            queue.push(batch(&target, 2, 10));
        }
        assert_eq!(queue.take(LIMITS).await.unwrap().len(), 3);
        queue.close();
        assert!(queue.take(LIMITS).await.is_none());
    }

    #[tokio::test]
    async fn batches_of_another_target_wait_for_the_next_commit() {
        let (queue, one, other) = (BatchQueue::new(1), target(column("a")), target(column("a")));
        queue.push(batch(&one, 1, 1));
        queue.push(batch(&other, 1, 1));
        assert_eq!(queue.take(LIMITS).await.unwrap().len(), 1);
        assert_eq!(queue.take(LIMITS).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_waiting_committer_is_woken_by_a_batch_and_by_the_end() {
        let queue = BatchQueue::new(1);
        let target = target(column("a"));
        let (taken, ()) = tokio::join!(queue.take(LIMITS), async { queue.push(batch(&target, 1, 1)) });
        assert_eq!(taken.unwrap().len(), 1);
        let (taken, ()) = tokio::join!(queue.take(LIMITS), async { queue.close() });
        assert!(taken.is_none());
    }

    proptest! {
        #[test]
        fn limits_hold_for_all_but_a_single_large_batch(
            sizes in proptest::collection::vec((0usize..20, 0usize..150), 1..20),
        ) {
            let target = target(column("a"));
            let mut queue: VecDeque<PendingBatch> =
                sizes.iter().map(|(records, bytes)| batch(&target, *records, *bytes)).collect();
            let mut seen = 0;
            while !queue.is_empty() {
                let taken = take_from(&mut queue, LIMITS);
                seen += taken.len();
                prop_assert!(!taken.is_empty());
                let records: usize = taken.iter().map(|batch| batch.records.len()).sum();
                let bytes: usize = taken.iter().map(|batch| batch.bytes).sum();
                prop_assert!(taken.len() == 1 || (records <= LIMITS.rows && bytes <= LIMITS.bytes));
            }
            prop_assert_eq!(seen, sizes.len());
        }
    }
}
