//! The database's clock, read without asking the database each time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parking_lot::RwLock;
use veilpost_runtime::numbers::to_i64;

/// The last reading of the database's clock, carried on by the local monotonic clock.
#[derive(Debug)]
pub(crate) struct Clock(RwLock<ClockReading>);

#[derive(Clone, Copy, Debug)]
struct ClockReading {
    at: Instant,
    database_ms: i64,
}

impl ClockReading {
    fn at(self, instant: Instant) -> i64 {
        let since = instant.saturating_duration_since(self.at);
        self.database_ms.saturating_add(to_i64(since.as_millis()))
    }
}

impl Clock {
    /// Starts with the local wall clock, which counts until the first connection.
    pub(crate) fn new() -> Self {
        Self(RwLock::new(ClockReading { at: Instant::now(), database_ms: host_now_ms() }))
    }

    /// Takes over the time that the database read at some moment between `asked` and now.
    pub(crate) fn set(&self, asked: Instant, database_ms: i64) {
        let at = asked + asked.elapsed() / 2;
        *self.0.write() = ClockReading { at, database_ms };
    }

    /// Milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> i64 {
        self.0.read().at(Instant::now())
    }
}

/// This machine's wall clock, in milliseconds since the Unix epoch.
pub(crate) fn host_now_ms() -> i64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    to_i64(wall.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_reading_moves_on_with_the_monotonic_clock() {
        let reading = ClockReading { at: Instant::now(), database_ms: 1000 };
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
