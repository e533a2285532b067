//! Says once that something fails, and once that it works again.

use std::fmt::Display;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A failure that lasts is logged again after this time.
const REPEAT_AFTER: Duration = Duration::from_mins(5);

/// Decides which failures of something that is tried again and again deserve a log line: the first one, each
/// change of the problem, and one every five minutes while it lasts.
///
/// The caller writes the line, so that it has the caller's target, fields and words. Everything that makes
/// the same kind of call shares one log: eight pollers that fail alike write one line.
///
/// A problem that comes and goes is not logged each time either: the same one is logged again only after five
/// minutes. An end is logged only for an outage of which a line was written.
///
/// ```
/// use veilpost_runtime::telemetry::OutageLog;
///
/// fn receive(queue: &str) -> Result<(), String> {
///     Err(format!("{queue} does not exist"))
/// }
///
/// let outage = OutageLog::new();
/// let mut lines = 0;
/// for _ in 0..3 {
///     match receive("user_logins") {
///         Ok(()) => {
///             if outage.note_success() {
///                 tracing::info!("can receive again");
///             }
///         }
///         Err(problem) => {
///             if outage.note_failure(&problem) {
///                 tracing::warn!(problem, "cannot receive; trying again");
///                 lines += 1;
///             }
///         }
///     }
/// }
/// assert_eq!(lines, 1);
/// ```
#[derive(Debug)]
pub struct OutageLog {
    state: Mutex<Outage>,
    repeat_after: Duration,
}

impl Default for OutageLog {
    fn default() -> Self {
        Self::repeated_after(REPEAT_AFTER)
    }
}

#[derive(Debug, Default)]
struct Outage {
    /// The problem of which a line was written last, and when.
    logged: Option<(String, Instant)>,
    /// A line has been written of an outage, and none yet of its end.
    is_open: bool,
    /// The first failure after the last success.
    since: Option<Instant>,
}

impl OutageLog {
    /// A log of something that has not failed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A log that repeats a lasting failure after `repeat_after` instead of five minutes.
    pub fn repeated_after(repeat_after: Duration) -> Self {
        Self { state: Mutex::default(), repeat_after }
    }

    /// Notes a failure. True when a line about it is due: write it.
    ///
    /// Failures are the same problem when their texts are equal, so `problem` should hold nothing that
    /// differs from attempt to attempt.
    #[must_use = "a line is due when this is true"]
    pub fn note_failure(&self, problem: impl Display) -> bool {
        let (problem, now) = (problem.to_string(), Instant::now());
        let mut state = self.state.lock();
        state.since.get_or_insert(now);
        let is_known = state.logged.as_ref().is_some_and(|(logged, when)| {
            *logged == problem && now.duration_since(*when) < self.repeat_after
        });
        if !is_known {
            state.logged = Some((problem, now));
            state.is_open = true;
        }
        !is_known
    }

    /// Notes a success. True when it ends an outage of which a line was written: say that it is over.
    #[must_use = "a line is due when this is true"]
    pub fn note_success(&self) -> bool {
        let mut state = self.state.lock();
        state.since = None;
        std::mem::take(&mut state.is_open)
    }

    /// The time since the first failure after the last success; zero while there is no failure.
    pub fn duration(&self) -> Duration {
        self.state.lock().since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lasting_problem_is_news_once_then_after_a_while_and_whenever_it_changes() {
        let outage = OutageLog::new();
        assert!(outage.note_failure("timeout"));
        assert!(!outage.note_failure("timeout"));
        assert!(outage.note_failure("no such queue"));
        tokio::time::advance(REPEAT_AFTER).await;
        assert!(outage.note_failure("no such queue"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_lasts_from_the_first_failure_to_the_next_success() {
        let outage = OutageLog::new();
        assert_eq!(outage.duration(), Duration::ZERO);
        for _ in 0..2 {
            let _is_news = outage.note_failure("timeout");
            tokio::time::advance(Duration::from_secs(2)).await;
        }
        assert_eq!(outage.duration(), Duration::from_secs(4));
        assert!(outage.note_success());
        assert_eq!(outage.duration(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_problem_that_comes_and_goes_is_not_news_each_time() {
        let outage = OutageLog::new();
        assert!(outage.note_failure("timeout"));
        assert!(outage.note_success());
        assert!(!outage.note_failure("timeout"));
        assert!(!outage.note_success(), "no line was written of this one");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_failure_there_is_no_end_to_tell_of() {
        assert!(!OutageLog::new().note_success());
    }
}
