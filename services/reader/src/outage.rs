//! Logs that a kind of call to SQS fails, once until it works again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use veilpost_runtime::telemetry::OutageLog;
use veilpost_sqs::SqsError;

use crate::queue::Queue;

/// Shared by everything that makes the same kind of call, so that eight pollers that fail alike write one
/// line.
#[derive(Debug)]
pub(crate) struct CallOutage {
    /// What is being done, as in "cannot receive".
    doing: &'static str,
    queue: String,
    log: OutageLog,
    /// A line has been written of this outage.
    is_told: AtomicBool,
    /// Shared by calls of all kinds: credentials and the network fail them all alike, and one line says so.
    access: Arc<OutageLog>,
}

impl CallOutage {
    pub(crate) fn new(doing: &'static str, queue: &str) -> Self {
        let (log, is_told, access) = Default::default();
        Self { doing, queue: queue.to_owned(), log, is_told, access }
    }

    /// The same for calls to `queue`, which shares its problems of access with all other calls to it.
    pub(crate) fn of(queue: &Queue, doing: &'static str) -> Self {
        Self::new(doing, queue.url()).sharing(queue.access())
    }

    /// Shares problems of access with all others that have the same `access`.
    pub(crate) fn sharing(self, access: &Arc<OutageLog>) -> Self {
        Self { access: Arc::clone(access), ..self }
    }

    /// A call has failed.
    pub(crate) fn failed(&self, problem: &SqsError) {
        let is_news = self.log.note_failure(problem);
        if is_news && (!problem.is_everywhere() || self.access.note_failure(problem)) {
            self.is_told.store(true, Ordering::Relaxed);
            tracing::warn!(queue = self.queue, problem = %problem, "cannot {}; trying again", self.doing);
        }
    }

    /// A call has succeeded.
    pub(crate) fn succeeded(&self) {
        if self.log.note_success() && self.is_told.swap(false, Ordering::Relaxed) {
            tracing::info!(queue = self.queue, "can {} again", self.doing);
        }
    }

    /// The time since the first failure after the last success; zero while calls succeed.
    pub(crate) fn duration(&self) -> Duration {
        self.log.duration()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_of_access_is_told_once_for_all_kinds_of_calls() {
        let access = Arc::default();
        let [receive, delete] =
            ["receive", "delete"].map(|doing| CallOutage::new(doing, "q").sharing(&access));
        receive.failed(&SqsError::NoCredentials);
        delete.failed(&SqsError::NoCredentials);
        let told = |outage: &CallOutage| outage.is_told.load(Ordering::Relaxed);
        assert!(told(&receive) && !told(&delete));
        delete.failed(&SqsError::Denied("sqs:DeleteMessage"));
        assert!(told(&delete), "that one is its own");
        delete.succeeded();
        assert!(!told(&delete) && delete.duration().is_zero());
    }
}
