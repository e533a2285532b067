//! Decides what to do with a segment whose statement failed.

use veilpost_proto::v1::Reason;

use crate::database::Blame;
use crate::target::InsertMode;

/// How often a record alone must have failed before it may be left.
const TRIES_ALONE: u32 = 3;

/// How many failures are blamed on the catalogue before it is cleared of the blame.
const CATALOGUE_RETRIES: u32 = 3;

/// After each of this number of failures that are blamed on the infrastructure, the database is asked whether
/// it works.
const INFRASTRUCTURE_RETRIES: u32 = 3;

/// What to do with a segment whose statement failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recovery {
    /// Run the statement that skips known keys: a record that is stored already must not be blamed for a
    /// constraint that its second copy violates.
    Skip,
    /// Find the records that fail and store the others, in one transaction.
    Search,
    /// Store the halves one after the other, each in a transaction of its own.
    Halve,
    /// Wait, then halve: a statement that was too slow may be fast enough in parts.
    WaitAndHalve,
    /// Reject the only record: it is to blame.
    Reject(Reason),
    /// Leave the only record in the queue: it fails while others are committed.
    Leave,
    /// Hold the only record back: nothing else is committed either, so nobody is to blame.
    Hold,
    /// Ask whether the database works. If it does, something in the statement is to blame after all.
    Probe,
    /// Wait, then run the statement again.
    Retry,
}

/// A statement that failed, apart from its error.
#[derive(Clone, Copy, Debug)]
pub(super) struct FailedStatement {
    pub(super) mode: InsertMode,
    /// Whether it had one record only.
    pub(super) single: bool,
    /// How many commits with rows all committers had made when it failed.
    pub(super) commits: u64,
}

/// The failures of one segment, those of the larger segments that it was a part of included.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FailureHistory {
    /// Failures with [`Blame::Catalogue`]. The definition is read again after each, and the stream ends when
    /// the target has changed; so a repetition means that the catalogue is not to blame.
    catalogue: u32,
    /// Failures with [`Blame::Infrastructure`] in a row.
    infrastructure: u32,
    /// Whether the database worked while the segment failed as if it did not.
    database_works: bool,
    /// Failures that nobody is to blame for, since it is a single record.
    alone: u32,
    /// The number of commits at the first failure that nobody is to blame for.
    since: Option<u64>,
    /// Whether no search includes it: it is halved, in transactions of their own.
    without_search: bool,
}

impl FailureHistory {
    /// The history of segments that become one, or None without any: what holds for each of them.
    pub(super) fn merged(histories: impl IntoIterator<Item = Self>) -> Option<Self> {
        histories.into_iter().reduce(|one, other| Self {
            catalogue: one.catalogue.min(other.catalogue),
            infrastructure: 0,
            database_works: one.database_works && other.database_works,
            alone: one.alone.min(other.alone),
            since: one.since.max(other.since),
            without_search: one.without_search || other.without_search,
        })
    }

    pub(super) fn note_without_search(&mut self) {
        self.without_search = true;
    }

    /// Whether rows of others were stored since this was first asked, or since a failure that nobody is to
    /// blame for. `commits` is the number of commits with rows that all committers have made.
    pub(super) fn others_stored(&mut self, commits: u64) -> bool {
        commits > *self.since.get_or_insert(commits)
    }

    /// Notes that the database works while the segment fails.
    pub(super) fn note_database_works(&mut self) {
        self.database_works = true;
    }

    /// Whether searches do not include it, so that it had better not be joined with segments that they do.
    pub(super) fn is_without_search(&self) -> bool {
        self.without_search
    }

    /// Notes a failure and decides what to do about it.
    pub(super) fn recover(&mut self, blame: Blame, failed: FailedStatement) -> Recovery {
        let blame = self.reclassify(blame);
        if matches!(blame, Blame::Undecided | Blame::Cancelled) {
            self.alone += u32::from(failed.single);
            self.since.get_or_insert(failed.commits);
        }
        self.decide(blame, failed)
    }

    /// An error that keeps blaming an unchanged catalogue, or an infrastructure that works, is undecided: a
    /// trigger can raise any error for one record. Such an error may end the connection, so it is looked for
    /// in transactions of their own.
    fn reclassify(&mut self, blame: Blame) -> Blame {
        let is_cleared = match blame {
            Blame::Catalogue => {
                self.catalogue += 1;
                self.catalogue > CATALOGUE_RETRIES
            }
            Blame::Infrastructure => {
                self.infrastructure += 1;
                self.database_works
            }
            _ => {
                self.infrastructure = 0;
                return blame;
            }
        };
        self.without_search |= is_cleared;
        if is_cleared { Blame::Undecided } else { blame }
    }

    fn decide(&self, blame: Blame, failed: FailedStatement) -> Recovery {
        let FailedStatement { mode, single, commits } = failed;
        let others_succeed = self.since.is_some_and(|since| commits > since);
        match blame {
            Blame::Ledger | Blame::Record(_) | Blame::Undecided if mode == InsertMode::Plain => {
                Recovery::Skip
            }
            Blame::Record(reason) if single => Recovery::Reject(reason),
            Blame::Record(_) | Blame::Undecided if !single && !self.without_search => Recovery::Search,
            Blame::Record(_) | Blame::Undecided if !single => Recovery::Halve,
            Blame::Cancelled if !single => Recovery::WaitAndHalve,
            Blame::Undecided | Blame::Cancelled if others_succeed && self.alone >= TRIES_ALONE => {
                Recovery::Leave
            }
            Blame::Undecided | Blame::Cancelled => Recovery::Hold,
            Blame::Infrastructure if self.infrastructure.is_multiple_of(INFRASTRUCTURE_RETRIES) => {
                Recovery::Probe
            }
            Blame::Ledger | Blame::Catalogue | Blame::Infrastructure | Blame::Record(_) => Recovery::Retry,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Blame = Blame::Record(Reason::Constraint);

    const BLAMES: [Blame; 6] =
        [Blame::Ledger, RECORD, Blame::Catalogue, Blame::Cancelled, Blame::Undecided, Blame::Infrastructure];

    /// A failure of the statement that skips known keys.
    fn skipping(single: bool, commits: u64) -> FailedStatement {
        FailedStatement { mode: InsertMode::Skipping, single, commits }
    }

    #[test]
    fn the_first_failure_of_a_segment_is_handled_by_its_blame() {
        use Recovery::{Hold, Reject, Retry, Search, Skip, WaitAndHalve};
        // Plain statement; skipping statement with several records; skipping statement with one record.
        for (blame, plain, several, single) in [
            (Blame::Ledger, Skip, Retry, Retry),
            (RECORD, Skip, Search, Reject(Reason::Constraint)),
            (Blame::Catalogue, Retry, Retry, Retry),
            (Blame::Undecided, Skip, Search, Hold),
            (Blame::Infrastructure, Retry, Retry, Retry),
            (Blame::Cancelled, WaitAndHalve, WaitAndHalve, Hold),
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
    fn a_segment_whose_search_was_given_up_is_halved() {
        let mut given_up = FailureHistory::default();
        given_up.note_without_search();
        for blame in [RECORD, Blame::Undecided] {
            assert_eq!(given_up.recover(blame, skipping(false, 0)), Recovery::Halve);
        }
    }

    #[test]
    fn an_error_that_keeps_blaming_an_unchanged_catalogue_is_undecided() {
        let mut history = FailureHistory::default();
        for _ in 0..CATALOGUE_RETRIES {
            assert_eq!(history.recover(Blame::Catalogue, skipping(false, 0)), Recovery::Retry);
        }
        assert_eq!(history.recover(Blame::Catalogue, skipping(false, 0)), Recovery::Halve);
        assert_eq!(history.recover(Blame::Catalogue, skipping(true, 0)), Recovery::Hold);
    }

    #[test]
    fn an_error_that_blames_an_infrastructure_that_works_is_undecided() {
        let mut history = FailureHistory::default();
        for _ in 1..INFRASTRUCTURE_RETRIES {
            assert_eq!(history.recover(Blame::Infrastructure, skipping(false, 0)), Recovery::Retry);
        }
        assert_eq!(history.recover(Blame::Infrastructure, skipping(false, 0)), Recovery::Probe);
        assert_eq!(
            history.recover(Blame::Infrastructure, skipping(false, 0)),
            Recovery::Retry,
            "it does not"
        );
        history.note_database_works();
        assert_eq!(history.recover(Blame::Infrastructure, skipping(false, 0)), Recovery::Halve);
        assert_eq!(history.recover(Blame::Infrastructure, skipping(true, 0)), Recovery::Hold);
    }

    /// The recoveries of a single record that fails again and again.
    fn recoveries(blame: Blame, commits: impl Fn(u64) -> u64) -> Vec<Recovery> {
        let mut history = FailureHistory::default();
        (1..=6).map(|failure| history.recover(blame, skipping(true, commits(failure)))).collect()
    }

    #[test]
    fn a_record_that_fails_while_others_are_committed_is_left_after_some_tries() {
        for blame in [Blame::Undecided, Blame::Cancelled] {
            assert_eq!(
                recoveries(blame, |failure| failure)[..3],
                [Recovery::Hold, Recovery::Hold, Recovery::Leave]
            );
        }
    }

    #[test]
    fn a_record_that_fails_while_nothing_is_committed_is_held_for_ever() {
        for blame in [Blame::Undecided, Blame::Cancelled] {
            assert_eq!(recoveries(blame, |_| 7), [Recovery::Hold; 6], "{blame:?}");
        }
    }

    #[test]
    fn segments_that_become_one_know_what_holds_for_each_of_them() {
        let (mut one, mut other) = (FailureHistory::default(), FailureHistory::default());
        for commits in [3, 3] {
            one.recover(Blame::Undecided, skipping(true, commits));
        }
        other.recover(Blame::Undecided, skipping(true, 9));
        let mut merged = FailureHistory::merged([one, other]).unwrap();
        assert_eq!((merged.alone, merged.since), (1, Some(9)));
        assert_eq!(merged.recover(Blame::Undecided, skipping(true, 9)), Recovery::Hold);
        assert_eq!(merged.recover(Blame::Undecided, skipping(true, 9)), Recovery::Hold, "no commit since");
        assert_eq!(merged.recover(Blame::Undecided, skipping(true, 10)), Recovery::Leave);
        assert!(FailureHistory::merged([]).is_none());
    }

    #[test]
    fn nothing_is_rejected_but_a_single_record_that_is_to_blame() {
        for blame in BLAMES {
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
