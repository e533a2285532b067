//! The server's clock: steady, in milliseconds since the Unix epoch.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::queue::state::Millis;

/// A step of the system's clock does not change it.
pub(super) struct Clock {
    started: Instant,
    since_epoch: Duration,
}

impl Clock {
    pub(super) fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), since_epoch }
    }

    pub(super) fn now(&self) -> Millis {
        Millis::try_from((self.since_epoch + self.started.elapsed()).as_millis()).unwrap_or(Millis::MAX)
    }

    /// When the clock will show `time`.
    pub(super) fn instant(&self, time: Millis) -> Instant {
        self.started + Duration::from_millis(time).saturating_sub(self.since_epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_clock_shows_a_time_when_its_instant_has_come() {
        let clock = Clock::new();
        let soon = clock.now() + 1_234;
        tokio::time::sleep_until(clock.instant(soon)).await;
        assert!((soon..=soon + 2).contains(&clock.now()));
    }
}
