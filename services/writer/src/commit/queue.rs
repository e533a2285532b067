//! The queue between streams and committers. Its bound is the memory that jobs hold a share of.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Job;
use crate::metrics;

/// How much one commit takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug, Default)]
pub(crate) struct JobQueue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl JobQueue {
    pub(crate) fn push(&self, job: Job) {
        let mut state = self.state();
        state.jobs.push_back(job);
        metrics::queue_depth(state.jobs.len());
        drop(state);
        self.changed.notify_one();
    }

    /// After this, [`Self::take`] hands out what is left and then None.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_waiters();
    }

    /// Waits for a job and takes with it what has queued up behind it for the same target, up to the limits; never
    /// waits for more. Cancel safe. None when the queue is closed and empty.
    pub(crate) async fn take(&self, limits: Limits) -> Option<Vec<Job>> {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            {
                let mut state = self.state();
                let jobs = take_from(&mut state.jobs, limits);
                metrics::queue_depth(state.jobs.len());
                if !state.jobs.is_empty() {
                    self.changed.notify_one();
                }
                if !jobs.is_empty() {
                    return Some(jobs);
                }
                if state.closed {
                    return None;
                }
            }
            changed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first job, whatever its size, and those of its target that follow and fit.
fn take_from(queue: &mut VecDeque<Job>, limits: Limits) -> Vec<Job> {
    let mut taken: Vec<Job> = Vec::new();
    let (mut records, mut bytes) = (0, 0);
    while let Some(next) = queue.front() {
        records += next.records.len();
        bytes += next.bytes;
        let fits = records <= limits.records && bytes <= limits.bytes;
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
    use super::*;
    use crate::catalogue::Target;
    use crate::catalogue::tests::{column, table};
    use crate::record::prepare;
    use proptest::prelude::*;
    use std::sync::Arc;
    use tokio::sync::{Semaphore, oneshot};
    use veilpost_proto::v1::{self, MaskedBatch, MaskedRecord, Value};

    fn target() -> Arc<Target> {
        let wanted = v1::Target { table: "logins".into(), columns: vec!["a".into()] };
        Arc::new(Target::resolve(&table(vec![column("a")]), &wanted).unwrap())
    }

    fn job(target: &Arc<Target>, records: usize, bytes: usize) -> Job {
        let record = MaskedRecord { values: vec![Value::default()], ..MaskedRecord::default() };
        let records = MaskedBatch::encoded(vec![record; records]);
        let batch = MaskedBatch { records, ..MaskedBatch::default() };
        let (records, sheet) = prepare(batch, target).unwrap();
        let share = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let (reply, _) = oneshot::channel();
        Job {
            batch_id: 0,
            target: Arc::clone(target),
            records,
            sheet,
            bytes,
            span: tracing::Span::none(),
            reply,
            share,
        }
    }

    const LIMITS: Limits = Limits { records: 10, bytes: 100 };

    #[tokio::test]
    async fn what_has_queued_up_is_taken_together() {
        let (queue, target) = (JobQueue::default(), target());
        for _ in 0..3 {
            queue.push(job(&target, 2, 10));
        }
        assert_eq!(queue.take(LIMITS).await.unwrap().len(), 3);
        queue.close();
        assert!(queue.take(LIMITS).await.is_none());
    }

    #[tokio::test]
    async fn jobs_of_another_target_wait_for_the_next_commit() {
        let (queue, one, other) = (JobQueue::default(), target(), target());
        queue.push(job(&one, 1, 1));
        queue.push(job(&other, 1, 1));
        assert_eq!(queue.take(LIMITS).await.unwrap().len(), 1);
        assert_eq!(queue.take(LIMITS).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_waiting_committer_is_woken_by_a_job_and_by_the_end() {
        let queue = JobQueue::default();
        let target = target();
        let (taken, ()) = tokio::join!(queue.take(LIMITS), async { queue.push(job(&target, 1, 1)) });
        assert_eq!(taken.unwrap().len(), 1);
        let (taken, ()) = tokio::join!(queue.take(LIMITS), async { queue.close() });
        assert!(taken.is_none());
    }

    proptest! {
        #[test]
        fn limits_hold_for_all_but_a_single_large_job(sizes in proptest::collection::vec((0usize..20, 0usize..150), 1..20)) {
            let target = target();
            let mut queue: VecDeque<Job> = sizes.iter().map(|(records, bytes)| job(&target, *records, *bytes)).collect();
            let mut seen = 0;
            while !queue.is_empty() {
                let taken = take_from(&mut queue, LIMITS);
                seen += taken.len();
                prop_assert!(!taken.is_empty());
                let records: usize = taken.iter().map(|job| job.records.len()).sum();
                let bytes: usize = taken.iter().map(|job| job.bytes).sum();
                prop_assert!(taken.len() == 1 || (records <= LIMITS.records && bytes <= LIMITS.bytes));
            }
            prop_assert_eq!(seen, sizes.len());
        }
    }
}
