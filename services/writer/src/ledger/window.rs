//! The ring of slots: which sent times the ledger accepts, and which slot may be emptied.

/// The number of slots: one for each day of the window, and one that is idle.
const SLOTS: i64 = 18;

/// The oldest day that is accepted, in days before the database's day. SQS keeps a message at most 14 days.
const OLDEST: i64 = 15;

/// Messages sent on the database's tomorrow are accepted, because clocks differ.
const NEWEST: i64 = -1;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Nothing is truncated this close to midnight, so that writers whose clocks differ by less agree on the idle
/// slot.
const MARGIN_MS: i64 = HOUR_MS;

pub(super) const HOUR_MS: i64 = 60 * 60 * 1000;

fn day_of(ms: i64) -> i64 {
    ms.div_euclid(DAY_MS)
}

fn slot_of_day(day: i64) -> i16 {
    i16::try_from(day.rem_euclid(SLOTS)).expect("a remainder of 18 fits")
}

/// The slot of a message by its sent time, in milliseconds since the Unix epoch.
pub fn slot_of(sent_ms: i64) -> i16 {
    slot_of_day(day_of(sent_ms))
}

/// Whether the ledger recognises, at the database's time `now_ms`, a message sent at `sent_ms` that was
/// stored before.
pub(super) fn accepts(now_ms: i64, sent_ms: i64) -> bool {
    (NEWEST..=OLDEST).contains(&(day_of(now_ms) - day_of(sent_ms)))
}

/// Whether a message sent at `sent_ms` is too old at `now_ms` for the ledger to be asked about it.
pub(super) fn is_past(now_ms: i64, sent_ms: i64) -> bool {
    day_of(now_ms) - day_of(sent_ms) > OLDEST
}

/// The names of the ledger's partitions, one for each slot.
pub(crate) fn leaves() -> impl Iterator<Item = String> {
    (0..SLOTS).map(|slot| format!("veilpost.ledger_{slot}"))
}

/// The one slot that at `now_ms` is neither read nor written (age 16, which is age -2 to the ring); none
/// close to midnight.
pub fn idle_slot(now_ms: i64) -> Option<i16> {
    let since_midnight = now_ms.rem_euclid(DAY_MS);
    let far_from_midnight = (MARGIN_MS..DAY_MS - MARGIN_MS).contains(&since_midnight);
    far_from_midnight.then(|| slot_of_day(day_of(now_ms) - OLDEST - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOON: i64 = 20_000 * DAY_MS + DAY_MS / 2;

    #[test]
    fn the_window_reaches_from_fifteen_days_ago_to_tomorrow() {
        for (age, taken) in [(16, false), (15, true), (0, true), (-1, true), (-2, false)] {
            assert_eq!(accepts(NOON, NOON - age * DAY_MS), taken, "age {age}");
        }
    }

    #[test]
    fn absurd_times_are_outside_the_window() {
        for sent in [i64::MIN / 2, -1, 0, i64::MAX / 2] {
            assert!(!accepts(NOON, sent));
        }
    }

    #[test]
    fn nothing_rests_close_to_midnight() {
        let midnight = 20_000 * DAY_MS;
        assert_eq!(idle_slot(midnight), None);
        assert_eq!(idle_slot(midnight - 1), None);
        assert!(idle_slot(midnight + MARGIN_MS).is_some());
    }

    proptest! {
        #[test]
        fn the_idle_slot_is_the_only_one_that_takes_nothing(now in 0i64..1 << 44) {
            let taken: std::collections::BTreeSet<i16> = (-40..40)
                .map(|days| now + days * DAY_MS)
                .filter(|&sent| accepts(now, sent))
                .map(slot_of)
                .collect();
            prop_assert_eq!(taken.len(), 17);
            if let Some(idle) = idle_slot(now) {
                prop_assert!(!taken.contains(&idle));
            }
        }

        #[test]
        fn writers_whose_clocks_differ_by_less_than_the_margin_never_use_the_idle_slot(
            now in 0i64..1 << 44, skew in -MARGIN_MS + 1..MARGIN_MS, days in -40i64..40,
        ) {
            let sent = now + days * DAY_MS;
            if accepts(now + skew, sent) {
                prop_assert_ne!(idle_slot(now), Some(slot_of(sent)));
            }
        }
    }
}
