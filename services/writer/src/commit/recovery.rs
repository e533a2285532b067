//! Decides what to do with a segment whose statement failed.

use veilpost_proto::v1::Reason;

use crate::database::Blame;
use crate::target::InsertMode;

/// How many failures without a decision are retried before the segment is split.
const UNDECIDED_RETRIES: u32 = 3;

/// How many cancelled statements of a record alone are retried before it may be left.
const CANCELLED_RETRIES: u32 = 3;

/// How many failures of a record alone are retried before the database is asked whether it takes any row.
const RETRIES_BEFORE_PROBE: u32 = 5;

/// How many failures are blamed on the catalogue before it is cleared of the blame.
const CATALOGUE_RETRIES: u32 = 3;

/// What to do with a segment whose statement failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recovery {
    /// Run the statement that skips known keys: a record that is stored already must not be blamed for a
    /// constraint that its second copy violates.
    Skip,
    /// Find the records to blame and store the others, in one transaction.
    Search,
    /// Store the halves one after the other, each in a transaction of its own.
    Halve,
    /// Wait, then halve: a statement that was too slow may be fast enough in parts.
    WaitAndHalve,
    /// Reject the only record: it is to blame.
    Reject(Reason),
    /// Leave the only record in the queue: it fails while others are committed.
    Leave,
    /// Ask the database whether it takes any row: no other commit shows whether it or the record is to blame.
    Probe,
    /// Wait, then run the statement again.
    Retry,
    /// Wait, then run the statement again after the other segments, so that it does not hold them up.
    RetryLast,
}

/// A statement that failed, apart from its error.
#[derive(Clone, Copy, Debug)]
pub(super) struct FailedStatement {
    pub(super) mode: InsertMode,
    /// Whether it had one record only.
    pub(super) single: bool,
    /// How many commits all committers had made when it failed.
    pub(super) commits: u64,
}

/// The failures of one segment, those of the larger segments that it was a part of included.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FailureHistory {
    /// Failures with [`Blame::Undecided`].
    undecided: u32,
    /// Failures with [`Blame::Catalogue`]. The definition is read again after each, and the stream ends when
    /// the target has changed; so a repetition means that the catalogue is not to blame.
    catalogue: u32,
    /// Undecided and cancelled failures since it is a single record.
    alone: u32,
    /// The number of commits at the first undecided or cancelled failure of this segment.
    commits_before: Option<u64>,
    /// Whether it was part of a search that was given up: it is halved then, in transactions of their own.
    search_given_up: bool,
    /// Whether a probe has shown, since this segment began to fail, that the database takes rows.
    database_works: bool,
}

impl FailureHistory {
    /// The history of a part of the segment.
    pub(super) fn of_part(self) -> Self {
        let Self { undecided, catalogue, search_given_up, .. } = self;
        Self { undecided, catalogue, search_given_up, ..Self::default() }
    }

    pub(super) fn note_search_given_up(&mut self) {
        self.search_given_up = true;
    }

    /// Notes that the database takes rows. The segment is left only at its next failure: the obstacle may
    /// have gone between its last failure and the probe.
    pub(super) fn note_database_works(&mut self) {
        self.database_works = true;
    }

    /// Notes a failure and decides what to do about it.
    pub(super) fn recover(&mut self, blame: Blame, failed: FailedStatement) -> Recovery {
        let blame = self.reclassify(blame);
        self.note(blame, failed);
        self.decide(blame, failed)
    }

    /// An error that keeps blaming an unchanged catalogue is undecided: a trigger may fail in this way on one
    /// record.
    fn reclassify(&mut self, blame: Blame) -> Blame {
        if blame != Blame::Catalogue {
            return blame;
        }
        self.catalogue += 1;
        if self.catalogue > CATALOGUE_RETRIES { Blame::Undecided } else { blame }
    }

    fn note(&mut self, blame: Blame, failed: FailedStatement) {
        if !matches!(blame, Blame::Undecided | Blame::Cancelled) {
            return;
        }
        self.undecided += u32::from(blame == Blame::Undecided);
        self.alone += u32::from(failed.single);
        self.commits_before.get_or_insert(failed.commits);
    }

    /// A commit since this segment began to fail shows that the database works.
    fn decide(&self, blame: Blame, failed: FailedStatement) -> Recovery {
        let FailedStatement { mode, single, commits } = failed;
        let others_succeed =
            self.database_works || self.commits_before.is_some_and(|before| commits > before);
        match blame {
            Blame::Ledger | Blame::Record(_) | Blame::Undecided if mode == InsertMode::Plain => {
                Recovery::Skip
            }
            Blame::Record(reason) if single => Recovery::Reject(reason),
            Blame::Record(_) if self.search_given_up => Recovery::Halve,
            Blame::Record(_) => Recovery::Search,
            Blame::Undecided if self.undecided < UNDECIDED_RETRIES => Recovery::RetryLast,
            Blame::Cancelled | Blame::Undecided if !single => Recovery::WaitAndHalve,
            Blame::Cancelled if self.alone < CANCELLED_RETRIES => Recovery::RetryLast,
            Blame::Cancelled | Blame::Undecided if others_succeed => Recovery::Leave,
            Blame::Cancelled | Blame::Undecided if self.alone < RETRIES_BEFORE_PROBE => Recovery::RetryLast,
            Blame::Cancelled | Blame::Undecided => Recovery::Probe,
            Blame::Ledger | Blame::Catalogue | Blame::Infrastructure => Recovery::Retry,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Blame = Blame::Record(Reason::Constraint);

    /// A failure of the statement that skips known keys.
    fn skipping(single: bool, commits: u64) -> FailedStatement {
        FailedStatement { mode: InsertMode::Skipping, single, commits }
    }

    #[test]
    fn the_first_failure_of_a_segment_is_handled_by_its_blame() {
        use Recovery::{Reject, Retry, RetryLast, Search, Skip, WaitAndHalve};
        // Plain statement; skipping statement with several records; skipping statement with one record.
        for (blame, plain, several, single) in [
            (Blame::Ledger, Skip, Retry, Retry),
            (RECORD, Skip, Search, Reject(Reason::Constraint)),
            (Blame::Catalogue, Retry, Retry, Retry),
            (Blame::Undecided, Skip, RetryLast, RetryLast),
            (Blame::Infrastructure, Retry, Retry, Retry),
            (Blame::Cancelled, WaitAndHalve, WaitAndHalve, RetryLast),
        ] {
            let first = |failed| FailureHistory::default().recover(blame, failed);
            let plain_failed = FailedStatement { mode: InsertMode::Plain, single: false, commits: 0 };
            assert_eq!(first(plain_failed), plain, "{blame:?}, plain");
            assert_eq!(first(skipping(false, 0)), several, "{blame:?}, several records");
            assert_eq!(first(skipping(true, 0)), single, "{blame:?}, one record");
        }
    }

    #[test]
    fn known_keys_are_skipped_before_a_single_record_is_blamed() {
        let plain = FailedStatement { mode: InsertMode::Plain, single: true, commits: 0 };
        for blame in [Blame::Ledger, RECORD, Blame::Undecided] {
            assert_eq!(FailureHistory::default().recover(blame, plain), Recovery::Skip);
        }
        assert_eq!(FailureHistory::default().recover(Blame::Infrastructure, plain), Recovery::Retry);
    }

    #[test]
    fn a_segment_whose_search_was_given_up_is_halved_and_its_halves_too() {
        let mut given_up = FailureHistory::default();
        given_up.note_search_given_up();
        assert_eq!(given_up.recover(RECORD, skipping(false, 0)), Recovery::Halve);
        assert_eq!(given_up.of_part().recover(RECORD, skipping(false, 0)), Recovery::Halve);
    }

    #[test]
    fn an_error_that_keeps_blaming_an_unchanged_catalogue_is_undecided_in_the_parts_too() {
        let mut history = FailureHistory::default();
        for _ in 0..CATALOGUE_RETRIES {
            assert_eq!(history.reclassify(Blame::Catalogue), Blame::Catalogue);
        }
        let mut part = history.of_part();
        assert_eq!(part.reclassify(Blame::Catalogue), Blame::Undecided);
        assert_eq!(part.reclassify(Blame::Infrastructure), Blame::Infrastructure);
    }

    /// The recoveries of a single record that fails again and again.
    fn recoveries(blame: Blame, commits: impl Fn(u64) -> u64) -> Vec<Recovery> {
        let mut history = FailureHistory::default();
        (1..=6).map(|failure| history.recover(blame, skipping(true, commits(failure)))).collect()
    }

    #[test]
    fn a_record_that_fails_while_others_are_committed_is_left() {
        for blame in [Blame::Undecided, Blame::Cancelled] {
            let expected = [Recovery::RetryLast, Recovery::RetryLast, Recovery::Leave];
            assert_eq!(recoveries(blame, |failure| failure)[..3], expected);
        }
    }

    #[test]
    fn the_database_is_probed_for_a_record_that_fails_while_nothing_is_committed() {
        for blame in [Blame::Undecided, Blame::Cancelled] {
            let retried = [Recovery::RetryLast; 4].as_slice();
            assert_eq!(recoveries(blame, |_| 7), [retried, &[Recovery::Probe; 2]].concat(), "{blame:?}");
        }
    }

    #[test]
    fn a_record_that_fails_again_after_the_database_took_rows_is_left() {
        for blame in [Blame::Undecided, Blame::Cancelled] {
            let mut history = FailureHistory::default();
            let fail = |history: &mut FailureHistory| history.recover(blame, skipping(true, 7));
            for _ in 1..RETRIES_BEFORE_PROBE {
                fail(&mut history);
            }
            assert_eq!(fail(&mut history), Recovery::Probe);
            history.note_database_works();
            assert_eq!(fail(&mut history), Recovery::Leave);
        }
    }

    #[test]
    fn a_part_with_a_single_record_counts_its_own_failures() {
        let mut history = FailureHistory::default();
        for _ in 0..10 {
            history.recover(Blame::Undecided, skipping(false, 0));
        }
        let mut single = history.of_part();
        assert_eq!(single.recover(Blame::Undecided, skipping(true, 0)), Recovery::RetryLast);
    }

    #[test]
    fn nothing_is_rejected_but_a_single_record_that_is_to_blame() {
        let blames = [
            Blame::Ledger,
            RECORD,
            Blame::Catalogue,
            Blame::Cancelled,
            Blame::Undecided,
            Blame::Infrastructure,
        ];
        for blame in blames {
            for single in [false, true] {
                let mut history = FailureHistory::default();
                for failure in 0..20 {
                    let recovery = history.recover(blame, skipping(single, failure));
                    let to_blame = single && blame == RECORD;
                    assert_eq!(matches!(recovery, Recovery::Reject(_)), to_blame, "{blame:?}");
                }
            }
        }
    }
}
