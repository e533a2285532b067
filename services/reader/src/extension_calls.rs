//! How many extension calls may be under way: many while they succeed, one after each pause while they fail.

use std::time::Duration;

use tokio::time::Instant;
use veilpost_runtime::Backoff;

/// The most calls under way at once: enough to extend the whole window within half a timeout, even when SQS
/// is slow.
const MAX_CALLS: usize = 32;

const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The state of the calls; pure.
#[derive(Debug)]
pub(crate) struct ExtensionCalls {
    backoff: Backoff,
    /// While calls fail, when the next one may be made.
    retry_at: Option<Instant>,
}

impl ExtensionCalls {
    /// Calls that succeed so far; the first pause after a failure is at most `first_pause`.
    pub(crate) fn new(first_pause: Duration) -> Self {
        Self { backoff: Backoff::new(first_pause, LONGEST_PAUSE), retry_at: None }
    }

    /// Whether the last call has failed.
    pub(crate) fn fail(&self) -> bool {
        self.retry_at.is_some()
    }

    /// While calls fail, when the next one may be made.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Whether another call may be made beside those under way.
    pub(crate) fn allow(&self, under_way: usize, now: Instant) -> bool {
        match self.retry_at {
            None => under_way < MAX_CALLS,
            Some(retry_at) => under_way == 0 && now >= retry_at,
        }
    }

    /// A call has ended. Calls that fail side by side are one failure.
    pub(crate) fn ended(&mut self, succeeded: bool, now: Instant) {
        if succeeded {
            self.retry_at = None;
            self.backoff.reset();
        } else if self.retry_at.is_none_or(|retry_at| now >= retry_at) {
            self.retry_at = Some(now + self.backoff.next_delay());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_fail_are_made_one_at_a_time_and_ever_more_seldom() {
        let start = Instant::now();
        let mut calls = ExtensionCalls::new(Duration::from_millis(200));
        assert!(calls.allow(MAX_CALLS - 1, start) && !calls.allow(MAX_CALLS, start));
        let (mut now, mut made) = (start, 0);
        while now < start + Duration::from_mins(1) {
            if calls.allow(0, now) {
                made += 1;
                assert!(!calls.allow(1, now) || !calls.fail());
                calls.ended(false, now);
                calls.ended(false, now);
            }
            now += Duration::from_millis(10);
        }
        assert!((5..60).contains(&made), "{made} calls in a minute");
        calls.ended(true, now);
        assert!(calls.allow(MAX_CALLS - 1, now) && !calls.fail());
    }
}
