//! A part of a load that is stored by one statement, and what to do when that fails.

use veilpost_proto::v1::Reason;

use super::load::Entry;
use crate::database::Owner;
use crate::statement::Form;

/// How often an undecided error is met before its cause is searched for.
const PATIENCE: u32 = 3;

/// How often a record fails alone before the database is asked whether anything can be stored at all.
const PATIENCE_ALONE: u32 = 5;

#[derive(Debug)]
pub(super) struct Piece {
    pub(super) entries: Vec<Entry>,
    pub(super) form: Form,
    /// Failures whose cause is undecided, those of the larger pieces that it was part of among them.
    failures: u32,
    /// Failures that named the catalogue's fault. It is read again after each, and the piece ends with its stream when the
    /// target is gone or another; so many of them say that the catalogue is not to blame.
    catalogue_failures: u32,
    /// Undecided and cancelled failures since it is a single record.
    failures_alone: u32,
    /// How many commits all committers had made when it began to fail.
    commits_before: Option<u64>,
    /// Whether a search was given up that it was part of: it is halved in transactions of their own then.
    by_itself: bool,
    /// Whether the database has answered, since this piece began to fail, that it takes rows.
    database_works: bool,
}

/// What to do with a piece whose statement failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Run the statement that skips keys which are known: a record that is stored already must not be blamed for
    /// what its second copy violates.
    Skip,
    /// Find the records to blame, and store the others, in one transaction.
    Search,
    /// Store the halves one by one; each is a transaction of its own.
    Halve,
    /// Wait, then halve: what was too slow as a whole may not be in parts.
    WaitAndHalve,
    /// It is the only record left, and it is to blame.
    Reject(Reason),
    /// Only this record fails while others are committed.
    Leave,
    /// Nothing else is committed that could show whether it is this record or the database: ask the database.
    Probe,
    Retry,
    /// Retry after the other pieces, so that they are not held up.
    RetryLast,
}

impl Piece {
    pub(super) fn new(entries: Vec<Entry>, form: Form) -> Self {
        Self {
            entries,
            form,
            failures: 0,
            catalogue_failures: 0,
            failures_alone: 0,
            commits_before: None,
            by_itself: false,
            database_works: false,
        }
    }

    pub(super) fn halves(mut self) -> [Self; 2] {
        let second = self.entries.split_off(self.entries.len() / 2);
        let first = std::mem::take(&mut self.entries);
        [first, second].map(|half| self.part(half))
    }

    /// One piece for each record.
    pub(super) fn singles(mut self) -> impl DoubleEndedIterator<Item = Self> {
        let entries = std::mem::take(&mut self.entries);
        entries.into_iter().map(move |entry| self.part(vec![entry]))
    }

    fn part(&self, entries: Vec<Entry>) -> Self {
        let Self { failures, catalogue_failures, by_itself, form, .. } = *self;
        Self { failures, catalogue_failures, by_itself, ..Self::new(entries, form) }
    }

    /// The same piece, which no search takes up again.
    pub(super) fn by_itself(self) -> Self {
        Self { by_itself: true, ..self }
    }

    /// The owner of an error of this piece: one that keeps naming the catalogue, though that is unchanged, is undecided. A
    /// trigger may fail so at one record.
    pub(super) fn weigh(&mut self, owner: Owner) -> Owner {
        if owner != Owner::Catalogue {
            return owner;
        }
        self.catalogue_failures += 1;
        if self.catalogue_failures > PATIENCE { Owner::Undecided } else { owner }
    }

    /// Notes a failure at a time when all committers had made `commits` commits.
    pub(super) fn note_failure(&mut self, owner: Owner, commits: u64) {
        if !matches!(owner, Owner::Undecided | Owner::Cancelled) {
            return;
        }
        self.failures += u32::from(owner == Owner::Undecided);
        self.failures_alone += u32::from(self.entries.len() == 1);
        self.commits_before.get_or_insert(commits);
    }

    /// Notes that the database takes rows. This piece is left when it fails once more: what was in its way may have gone
    /// between its last failure and the question.
    pub(super) fn note_database_works(&mut self) {
        self.database_works = true;
    }

    /// Decides by the error's owner. `commits` counts the commits of all committers: one that was made since this piece
    /// began to fail shows that the database works.
    pub(super) fn step(&self, owner: Owner, commits: u64) -> Step {
        let single = self.entries.len() == 1;
        let others_succeed =
            self.database_works || self.commits_before.is_some_and(|before| commits > before);
        match owner {
            Owner::Ledger | Owner::Record(_) | Owner::Undecided if self.form == Form::Plain => Step::Skip,
            Owner::Record(reason) if single => Step::Reject(reason),
            Owner::Record(_) if self.by_itself => Step::Halve,
            Owner::Record(_) => Step::Search,
            Owner::Undecided if self.failures < PATIENCE => Step::RetryLast,
            Owner::Cancelled | Owner::Undecided if !single => Step::WaitAndHalve,
            Owner::Cancelled if self.failures_alone < PATIENCE => Step::RetryLast,
            Owner::Cancelled | Owner::Undecided if others_succeed => Step::Leave,
            Owner::Cancelled | Owner::Undecided if self.failures_alone < PATIENCE_ALONE => Step::RetryLast,
            Owner::Cancelled | Owner::Undecided => Step::Probe,
            Owner::Ledger | Owner::Catalogue | Owner::Infrastructure => Step::Retry,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::record::Record;
    use proptest::prelude::*;

    /// Records in the order of their positions, all with known keys skipped.
    pub(in crate::commit) fn piece(records: usize) -> Piece {
        let entries = (0..records).map(Record::for_tests).map(Entry::for_tests);
        Piece::new(entries.collect(), Form::Skipping)
    }

    #[test]
    fn known_keys_are_skipped_before_any_record_is_blamed() {
        let mut piece = piece(1);
        piece.form = Form::Plain;
        for owner in [Owner::Ledger, Owner::Record(Reason::Constraint), Owner::Undecided] {
            assert_eq!(piece.step(owner, 0), Step::Skip);
        }
        assert_eq!(piece.step(Owner::Infrastructure, 0), Step::Retry);
        piece.form = Form::Skipping;
        assert_eq!(piece.step(Owner::Ledger, 0), Step::Retry);
    }

    #[test]
    fn a_piece_is_searched_once_and_then_halved_by_itself() {
        let owner = Owner::Record(Reason::Constraint);
        assert_eq!(piece(4).step(owner, 0), Step::Search);
        let given_up = piece(4).by_itself();
        assert_eq!(given_up.step(owner, 0), Step::Halve);
        assert!(given_up.halves().iter().all(|half| half.step(owner, 0) == Step::Halve));
    }

    #[test]
    fn an_error_that_keeps_naming_an_unchanged_catalogue_is_undecided_also_in_the_halves() {
        let mut piece = piece(2);
        for _ in 0..PATIENCE {
            assert_eq!(piece.weigh(Owner::Catalogue), Owner::Catalogue);
        }
        let [mut first, _] = piece.halves();
        assert_eq!(first.weigh(Owner::Catalogue), Owner::Undecided);
        assert_eq!(first.weigh(Owner::Infrastructure), Owner::Infrastructure);
    }

    #[test]
    fn a_cancelled_batch_is_halved_and_a_cancelled_record_goes_behind_the_others() {
        assert_eq!(piece(2).step(Owner::Cancelled, 0), Step::WaitAndHalve);
        assert_eq!(piece(1).step(Owner::Cancelled, 0), Step::RetryLast);
    }

    /// The steps for a single record that fails time and again.
    fn steps(owner: Owner, commits: impl Fn(u64) -> u64) -> Vec<Step> {
        let mut piece = piece(1);
        let step = |failure| {
            piece.note_failure(owner, commits(failure));
            piece.step(owner, commits(failure))
        };
        (1..=6).map(step).collect()
    }

    #[test]
    fn a_record_that_fails_while_others_are_committed_is_left() {
        for owner in [Owner::Undecided, Owner::Cancelled] {
            assert_eq!(steps(owner, |failure| failure)[..3], [Step::RetryLast, Step::RetryLast, Step::Leave]);
        }
    }

    #[test]
    fn a_record_that_fails_while_nothing_is_committed_has_the_database_asked() {
        for owner in [Owner::Undecided, Owner::Cancelled] {
            let retried = [Step::RetryLast; 4].as_slice();
            assert_eq!(steps(owner, |_| 7), [retried, &[Step::Probe; 2]].concat(), "{owner:?}");
        }
    }

    #[test]
    fn a_record_that_fails_again_after_the_database_took_rows_is_left() {
        for owner in [Owner::Undecided, Owner::Cancelled] {
            let mut piece = piece(1);
            for _ in 0..PATIENCE_ALONE {
                piece.note_failure(owner, 7);
            }
            assert_eq!(piece.step(owner, 7), Step::Probe);
            piece.note_database_works();
            piece.note_failure(owner, 7);
            assert_eq!(piece.step(owner, 7), Step::Leave);
        }
    }

    #[test]
    fn a_half_that_is_a_single_record_has_failures_of_its_own() {
        let mut piece = piece(2);
        for _ in 0..10 {
            piece.note_failure(Owner::Undecided, 0);
        }
        let [mut first, _] = piece.halves();
        first.note_failure(Owner::Undecided, 0);
        assert_eq!(first.step(Owner::Undecided, 0), Step::RetryLast);
    }

    proptest! {
        #[test]
        fn nothing_is_rejected_but_a_single_record_that_is_to_blame(records in 1usize..50, owner in 0usize..6) {
            let owners = [
                Owner::Ledger, Owner::Record(Reason::Constraint), Owner::Catalogue, Owner::Cancelled,
                Owner::Undecided, Owner::Infrastructure,
            ];
            let step = piece(records).step(owners[owner], 0);
            let to_blame = records == 1 && owners[owner] == Owner::Record(Reason::Constraint);
            prop_assert_eq!(matches!(step, Step::Reject(_)), to_blame);
        }

        #[test]
        fn halving_finds_a_single_culprit_and_stores_all_others(records in 1usize..200, culprit in 0usize..200) {
            let culprit = culprit % records;
            let mut pieces = vec![piece(records)];
            let (mut stored, mut rejected, mut statements) = (0, Vec::new(), 0);
            while let Some(piece) = pieces.pop() {
                statements += 1;
                if piece.entries.iter().all(|entry| entry.record.position != culprit) {
                    stored += piece.entries.len();
                    continue;
                }
                match piece.step(Owner::Record(Reason::Constraint), 0) {
                    Step::Reject(_) => rejected.push(piece.entries[0].record.position),
                    _ => pieces.extend(piece.halves()),
                }
            }
            prop_assert_eq!((stored, rejected), (records - 1, vec![culprit]));
            prop_assert!(statements <= 2 * usize::try_from(usize::BITS - records.leading_zeros()).unwrap() + 1);
        }
    }
}
