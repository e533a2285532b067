//! The database's clock, read without asking the database each time.

use std::sync::{PoisonError, RwLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Follows the database's clock by the local monotonic one, from the last reading on.
#[derive(Debug)]
pub(crate) struct Clock(RwLock<Reading>);

#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    database_ms: i64,
}

impl Reading {
    fn at(self, instant: Instant) -> i64 {
        let since = instant.saturating_duration_since(self.at);
        self.database_ms.saturating_add(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

impl Clock {
    /// Begins with the local wall clock, for the time before the first connection.
    pub(crate) fn new() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let database_ms = i64::try_from(wall.as_millis()).unwrap_or(i64::MAX);
        Self(RwLock::new(Reading { at: Instant::now(), database_ms }))
    }

    /// Takes over what the database said between `asked` and now.
    pub(crate) fn set(&self, asked: Instant, database_ms: i64) {
        let at = asked + asked.elapsed() / 2;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Reading { at, database_ms };
    }

    /// Milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> i64 {
        self.0.read().unwrap_or_else(PoisonError::into_inner).at(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_reading_moves_on_with_the_monotonic_clock() {
        let reading = Reading { at: Instant::now(), database_ms: 1000 };
        assert_eq!(reading.at(reading.at + Duration::from_millis(250)), 1250);
        assert_eq!(reading.at(reading.at), 1000);
    }

    #[test]
    fn the_database_overrules_the_local_clock() {
        let clock = Clock::new();
        clock.set(Instant::now(), 1_000_000);
        assert!((1_000_000..1_010_000).contains(&clock.now_ms()));
    }
}
