//! Bounds the log lines about what strangers may cause as often as they like.

use std::collections::HashSet;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// One line for equal keys and window, and a bounded number of lines of a window in all.
#[derive(Debug)]
pub(crate) struct LineThrottle<K> {
    window: Duration,
    max_lines: usize,
    since: Instant,
    logged: HashSet<K>,
    suppressed: u64,
}

impl<K: Eq + Hash + Clone> LineThrottle<K> {
    pub(crate) fn new(window: Duration, max_lines: usize, now: Instant) -> Self {
        Self { window, max_lines, since: now, logged: HashSet::new(), suppressed: 0 }
    }

    /// Some when a line is due, with the number of events that have had none since the last line.
    pub(crate) fn admit(&mut self, key: &K, now: Instant) -> Option<u64> {
        if now.duration_since(self.since) >= self.window {
            self.since = now;
            self.logged.clear();
        }
        if self.logged.len() >= self.max_lines || !self.logged.insert(key.clone()) {
            self.suppressed += 1;
            return None;
        }
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_mins(1);
    const MAX_LINES: usize = 30;

    #[test]
    fn equal_events_have_one_line_a_window_and_the_next_line_counts_them() {
        let begin = Instant::now();
        let mut throttle = LineThrottle::new(WINDOW, MAX_LINES, begin);
        assert_eq!(throttle.admit(&"a", begin), Some(0));
        assert_eq!(throttle.admit(&"a", begin), None);
        assert_eq!(throttle.admit(&"b", begin), Some(1));
        assert_eq!(throttle.admit(&"a", begin + WINDOW), Some(0));
    }

    #[test]
    fn a_flood_of_distinct_events_writes_a_bounded_number_of_lines() {
        let begin = Instant::now();
        let mut throttle = LineThrottle::new(WINDOW, MAX_LINES, begin);
        let lines = (0..100_000).filter(|event| throttle.admit(event, begin).is_some());
        assert_eq!(lines.count(), MAX_LINES);
        assert!(throttle.logged.len() <= MAX_LINES);
    }
}
