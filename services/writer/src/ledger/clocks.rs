//! Whether the clocks agree, so that a slot may be emptied. Pure.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tokio::sync::Notify;

use super::window::{HOUR_MS, accepts, is_past};

/// Three clocks that have nothing to do with each other, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_field_names, reason = "the unit")]
pub struct ClockReadings {
    /// The database's.
    pub database_ms: i64,
    /// This machine's.
    pub host_ms: i64,
    /// The queue's: the newest sent time among the records that came lately; None before the first record.
    pub newest_sent_ms: Option<i64>,
}

/// What three clocks say about each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agreement {
    Agree,
    /// No message was sent within the last hour, or none has come yet: the queue's clock is not known.
    Unconfirmed,
    /// The database's clock and this machine's are more than an hour apart.
    HostDiffers,
    /// Messages were sent more than an hour after the time that database or machine show.
    QueueDiffers,
}

impl ClockReadings {
    pub(crate) fn agreement(self) -> Agreement {
        let Self { database_ms, host_ms, newest_sent_ms } = self;
        let (earlier, later) = (database_ms.min(host_ms), database_ms.max(host_ms));
        match newest_sent_ms {
            _ if later.saturating_sub(earlier) > HOUR_MS => Agreement::HostDiffers,
            Some(sent) if sent.saturating_sub(earlier) > HOUR_MS => Agreement::QueueDiffers,
            Some(sent) if later.saturating_sub(sent) <= HOUR_MS => Agreement::Agree,
            _ => Agreement::Unconfirmed,
        }
    }

    /// Whether a slot whose newest key was sent at `newest_key_ms` may be emptied. That cannot be undone, so
    /// no single clock decides it: all must agree, and the key must be too old by the earliest of them.
    pub fn may_empty(self, newest_key_ms: i64) -> bool {
        self.agreement() == Agreement::Agree && is_past(self.database_ms.min(self.host_ms), newest_key_ms)
    }
}

/// What is to be done with a record, by when it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowDecision {
    /// The ledger recognises its message.
    Take,
    /// It is outside of the ledger's window, and a clock may be why: wait until the clocks are right.
    Hold,
    /// It is outside of the ledger's window, and nothing but its own sent time is why.
    Leave,
}

/// Decides about a record that was sent at `sent_ms`; all times are milliseconds since the Unix epoch.
///
/// SQS keeps messages for a shorter time than the ledger keeps keys, so a record outside of the window says
/// that a clock is wrong. It is left only when the clocks of database and host agree, and rows of other
/// records were stored since it was first seen outside: then the database's clock is right for them. A record
/// without a sent time is nobody else's fault.
pub fn decide_by_window(database_ms: i64, host_ms: i64, sent_ms: i64, others_stored: bool) -> WindowDecision {
    if accepts(database_ms, sent_ms) {
        return WindowDecision::Take;
    }
    let clocks_agree = database_ms.abs_diff(host_ms) <= HOUR_MS.unsigned_abs();
    if sent_ms <= 0 || clocks_agree && others_stored { WindowDecision::Leave } else { WindowDecision::Hold }
}

/// The newest sent time among the records that came since it was last asked for.
#[derive(Debug)]
pub(crate) struct SentTimes {
    since: AtomicI64,
    before: AtomicI64,
    any: AtomicBool,
    first: Notify,
}

impl Default for SentTimes {
    fn default() -> Self {
        let none = || AtomicI64::new(i64::MIN);
        Self { since: none(), before: none(), any: AtomicBool::new(false), first: Notify::new() }
    }
}

impl SentTimes {
    /// Notes the newest sent time of some records.
    pub(crate) fn note(&self, sent_ms: i64) {
        self.since.fetch_max(sent_ms, Ordering::Relaxed);
        if !self.any.swap(true, Ordering::Relaxed) {
            self.first.notify_one();
        }
    }

    /// Waits for the very first records; ends once.
    pub(crate) async fn first(&self) {
        self.first.notified().await;
    }

    /// When no record came since, the answer of last time. So one absurd time counts no longer than until
    /// the next records.
    pub(crate) fn newest(&self) -> Option<i64> {
        let since = self.since.swap(i64::MIN, Ordering::Relaxed);
        if since != i64::MIN {
            self.before.store(since, Ordering::Relaxed);
        }
        Some(self.before.load(Ordering::Relaxed)).filter(|sent| *sent != i64::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY_MS: i64 = 24 * HOUR_MS;

    const NOW: i64 = 20_000 * DAY_MS + DAY_MS / 2;

    fn readings(database_ms: i64, host_ms: i64, newest_sent_ms: Option<i64>) -> ClockReadings {
        ClockReadings { database_ms, host_ms, newest_sent_ms }
    }

    #[test]
    fn a_clock_that_is_off_by_days_is_noticed_by_the_others() {
        for days in [-40, -2, 2, 40] {
            let wrong = NOW + days * DAY_MS;
            assert_eq!(readings(wrong, NOW, Some(NOW)).agreement(), Agreement::HostDiffers);
            assert_eq!(readings(NOW, wrong, Some(NOW)).agreement(), Agreement::HostDiffers);
        }
        assert_eq!(readings(NOW, NOW, Some(NOW + 2 * DAY_MS)).agreement(), Agreement::QueueDiffers);
        assert_eq!(readings(NOW, NOW, Some(NOW - 2 * DAY_MS)).agreement(), Agreement::Unconfirmed);
        assert_eq!(readings(NOW, NOW, None).agreement(), Agreement::Unconfirmed);
        assert_eq!(readings(NOW, NOW - HOUR_MS, Some(NOW)).agreement(), Agreement::Agree);
    }

    #[test]
    fn a_slot_with_a_key_that_may_come_again_is_kept() {
        let readings = readings(NOW, NOW, Some(NOW));
        for (age, emptied) in [(-2, false), (0, false), (14, false), (15, false), (16, true), (40, true)] {
            assert_eq!(readings.may_empty(NOW - age * DAY_MS), emptied, "{age}");
        }
    }

    #[test]
    fn a_record_outside_the_window_is_left_only_while_the_clocks_agree_and_others_are_stored() {
        let old = NOW - 20 * DAY_MS;
        for (database_ms, host_ms, sent_ms, others_stored, expected) in [
            (NOW, NOW, NOW, false, WindowDecision::Take),
            (NOW, NOW - 40 * DAY_MS, NOW, false, WindowDecision::Take),
            (NOW, NOW, old, false, WindowDecision::Hold),
            (NOW, NOW, old, true, WindowDecision::Leave),
            (NOW, NOW + 2 * HOUR_MS, old, true, WindowDecision::Hold),
            (NOW, NOW - 2 * HOUR_MS, NOW + 3 * DAY_MS, true, WindowDecision::Hold),
            (NOW - 3 * DAY_MS, NOW, NOW, true, WindowDecision::Hold),
            (NOW + 20 * DAY_MS, NOW + 20 * DAY_MS, NOW, false, WindowDecision::Hold),
            (NOW, NOW, 0, false, WindowDecision::Leave),
        ] {
            let found = decide_by_window(database_ms, host_ms, sent_ms, others_stored);
            assert_eq!(found, expected, "{database_ms} {host_ms} {sent_ms} {others_stored}");
        }
    }

    #[test]
    fn an_absurd_sent_time_counts_until_the_next_records() {
        let times = SentTimes::default();
        assert_eq!(times.newest(), None);
        times.note(i64::MAX / 2);
        assert_eq!(times.newest(), Some(i64::MAX / 2));
        times.note(5);
        times.note(7);
        assert_eq!((times.newest(), times.newest()), (Some(7), Some(7)));
    }

    proptest! {
        /// Whatever the true time is: as long as one of three clocks is right within an hour, no key is lost
        /// whose message SQS can still deliver.
        #[test]
        fn one_right_clock_keeps_every_key_that_may_come_again(
            age_ms in 0..14 * DAY_MS, offsets in proptest::array::uniform3(-60 * DAY_MS..60 * DAY_MS),
            right in 0usize..3, error in -HOUR_MS..HOUR_MS,
        ) {
            let mut shown = offsets.map(|offset| NOW + offset);
            shown[right] = NOW + error;
            let [database, host, queue] = shown;
            prop_assert!(!readings(database, host, Some(queue)).may_empty(NOW - age_ms));
        }

        #[test]
        fn clocks_that_are_nearly_right_empty_what_is_past(
            age_days in 17i64..400, errors in proptest::array::uniform3(-HOUR_MS / 4..HOUR_MS / 4),
        ) {
            let [database, host, queue] = errors.map(|error| NOW + error);
            prop_assert!(readings(database, host, Some(queue)).may_empty(NOW - age_days * DAY_MS));
        }
    }
}
