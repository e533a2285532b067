//! Logs that a kind of call to SQS fails, once until it works again.

use std::time::Duration;

use veilpost_runtime::telemetry::OutageLog;

use crate::error::SqsError;

/// Shared by everything that makes the same kind of call, so that eight pollers that fail alike write one
/// line.
#[derive(Debug)]
pub(crate) struct CallOutage {
    /// What is being done, as in "cannot receive".
    doing: &'static str,
    queue: String,
    log: OutageLog,
}

impl CallOutage {
    pub(crate) fn new(doing: &'static str, queue: &str) -> Self {
        Self { doing, queue: queue.to_owned(), log: OutageLog::new() }
    }

    /// A call has failed.
    pub(crate) fn failed(&self, problem: &SqsError) {
        if self.log.note_failure(problem) {
            tracing::warn!(queue = self.queue, problem = %problem, "cannot {}; trying again", self.doing);
        }
    }

    /// A call has succeeded.
    pub(crate) fn succeeded(&self) {
        if self.log.note_success() {
            tracing::info!(queue = self.queue, "can {} again", self.doing);
        }
    }

    /// The time since the first failure after the last success; zero while calls succeed.
    pub(crate) fn duration(&self) -> Duration {
        self.log.duration()
    }
}
