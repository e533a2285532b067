//! What a run has still to store, and what it holds back: pure state, without the database.

use std::collections::VecDeque;

use super::recovery::{FailureHistory, Recovery};
use super::segment::Segment;
use crate::database::{Blame, DbError};
use crate::target::InsertMode;

/// How many segments may fail in one turn, while nothing is committed, before the rest is not tried either.
/// Until the next turn, batches of others have the connection.
const TRIES_A_TURN: usize = 16;

/// The segments of one round, by what is to be done with them.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// To be stored, in order.
    open: VecDeque<Segment>,
    /// Not tried in this turn. They are open again as soon as anything is committed.
    waiting: VecDeque<Segment>,
    /// Tried in this turn, and held back.
    failed: VecDeque<Segment>,
    /// How many more segments may fail in this turn while nothing is committed.
    tries: usize,
    /// The commits of all committers at the beginning of this turn.
    commits: u64,
}

/// What the run has to do itself, with the segment that it is about.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing; the plan goes on.
    GoOn,
    /// Wait because of the error.
    Wait,
    /// Search for the records that fail.
    Search(Segment),
    /// Ask whether the database works, note it, and open the segment again.
    Probe(Segment),
    /// Settle the only record.
    Reject(Segment, veilpost_proto::v1::Reason),
    /// Leave the only record in the queue.
    Leave(Segment),
}

impl Plan {
    /// A turn begins; `commits` is the number of commits with rows that all committers have made. When there
    /// were some since the last turn, everything is worth a try; else only some segments are tried.
    pub(super) fn begin_turn(&mut self, commits: u64) {
        let anything_committed = commits > self.commits;
        self.commits = commits;
        self.tries = TRIES_A_TURN;
        self.waiting.append(&mut self.failed);
        if anything_committed {
            self.open_waiting();
        } else {
            let canaries = self.waiting.len().min(TRIES_A_TURN);
            self.open.extend(self.waiting.drain(..canaries));
        }
    }

    pub(super) fn next(&mut self) -> Option<Segment> {
        self.open.pop_front()
    }

    /// The next segment is this one.
    pub(super) fn open(&mut self, segment: Segment) {
        self.open.push_front(segment);
    }

    /// Puts segments before all others, in their order.
    pub(super) fn open_all(
        &mut self,
        segments: impl IntoIterator<Item = Segment, IntoIter: DoubleEndedIterator>,
    ) {
        segments.into_iter().rev().for_each(|segment| self.open.push_front(segment));
    }

    /// Rows have been committed, so what was not tried is worth it.
    pub(super) fn committed(&mut self) {
        self.tries = TRIES_A_TURN;
        self.open_waiting();
    }

    /// Whether nothing is left to be done in this turn, but records are held back.
    pub(super) fn holds(&self) -> bool {
        !self.waiting.is_empty() || !self.failed.is_empty()
    }

    /// What is held back.
    pub(super) fn held(&self) -> impl Iterator<Item = &Segment> {
        self.failed.iter().chain(&self.waiting)
    }

    /// Takes records out of what is held back.
    pub(super) fn retain_held(&mut self, mut keep: impl FnMut(&super::commit_batch::BatchRecord) -> bool) {
        for segments in [&mut self.waiting, &mut self.failed] {
            for segment in segments.iter_mut() {
                segment.records.retain(&mut keep);
            }
            segments.retain(|segment| !segment.records.is_empty());
        }
    }

    /// Notes that a segment failed, when there had been this number of commits with rows, and decides on the
    /// next step.
    pub(super) fn failed(
        &mut self,
        mut segment: Segment,
        blame: Blame,
        error: DbError,
        commits: u64,
    ) -> Step {
        let recovery = segment.recover(blame, commits);
        segment.error = Some(error);
        match recovery {
            Recovery::Skip => {
                segment.mode = InsertMode::Skipping;
                self.open(segment);
                Step::GoOn
            }
            Recovery::Search => Step::Search(segment),
            Recovery::Halve => {
                self.open_all(segment.halves());
                Step::GoOn
            }
            Recovery::WaitAndHalve => {
                self.open_all(segment.halves());
                Step::Wait
            }
            Recovery::Reject(reason) => Step::Reject(segment, reason),
            Recovery::Leave => Step::Leave(segment),
            Recovery::Hold => {
                self.hold(segment, blame, commits);
                Step::GoOn
            }
            Recovery::Probe => Step::Probe(segment),
            Recovery::Retry => {
                self.open(segment);
                Step::Wait
            }
        }
    }

    /// Holds a segment back until the next turn, whatever becomes of the others.
    pub(super) fn hold_apart(&mut self, segment: Segment) {
        self.failed.push_back(segment);
    }

    /// After a slow failure, and after some quick ones, the rest is not tried while nothing is committed.
    fn hold(&mut self, segment: Segment, blame: Blame, commits: u64) {
        self.failed.push_back(segment);
        if commits > self.commits {
            return;
        }
        self.tries = if blame == Blame::Cancelled { 0 } else { self.tries.saturating_sub(1) };
        if self.tries == 0 {
            self.waiting.append(&mut self.open);
        }
    }

    /// Segments that a search may include become one, so that everything is stored by one statement once it
    /// can be.
    fn open_waiting(&mut self) {
        let (alone, joined): (Vec<_>, Vec<_>) =
            self.waiting.drain(..).partition(|segment| segment.failures.is_without_search());
        self.open.extend(join(joined));
        self.open.extend(alone);
    }
}

fn join(segments: Vec<Segment>) -> Option<Segment> {
    let failures = FailureHistory::merged(segments.iter().map(|segment| segment.failures))?;
    let error = segments.iter().find_map(|segment| segment.error.clone());
    let mut records: Vec<_> = segments.into_iter().flat_map(|segment| segment.records).collect();
    records.sort_by_key(|record| record.record.key);
    Some(Segment { records, mode: InsertMode::Skipping, failures, error })
}

#[cfg(test)]
mod tests {
    use super::super::segment::tests::segment;
    use super::*;
    use crate::database::{Origin, ServerError, blame_at};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// A database without transactions of several statements: each record has an error or none.
    struct Simulation<'a> {
        error_of: &'a dyn Fn(usize) -> Option<DbError>,
        plan: Plan,
        commits: u64,
        stored: BTreeSet<usize>,
        rejected: BTreeSet<usize>,
        left: BTreeSet<usize>,
    }

    impl<'a> Simulation<'a> {
        fn of(records: usize, error_of: &'a dyn Fn(usize) -> Option<DbError>) -> Self {
            let mut plan = Plan::default();
            plan.begin_turn(0);
            plan.open(segment(records));
            let (stored, rejected, left) = Default::default();
            Self { error_of, plan, commits: 0, stored, rejected, left }
        }

        fn positions(segment: &Segment) -> Vec<usize> {
            segment.records.iter().map(|record| record.record.position).collect()
        }

        fn turn(&mut self) {
            let mut statements = 0;
            while let Some(segment) = self.plan.next() {
                statements += 1;
                assert!(statements < 10_000, "a turn ends");
                let positions = Self::positions(&segment);
                let Some(error) = positions.iter().find_map(|position| (self.error_of)(*position)) else {
                    self.stored.extend(positions);
                    self.commits += 1;
                    self.plan.committed();
                    continue;
                };
                let blame = blame_at(&error, Origin::Elsewhere);
                match self.plan.failed(segment, blame, error, self.commits) {
                    Step::GoOn | Step::Wait => {}
                    // A search that tries each record alone.
                    Step::Search(segment) => self.plan.open_all(segment.halves()),
                    Step::Probe(mut segment) => {
                        segment.failures.note_database_works();
                        self.plan.open(segment);
                    }
                    Step::Reject(segment, _) => self.rejected.extend(Self::positions(&segment)),
                    Step::Leave(segment) => self.left.extend(Self::positions(&segment)),
                }
            }
        }

        fn held(&self) -> usize {
            self.plan.held().map(|segment| segment.records.len()).sum()
        }
    }

    /// One code of each class, and codes of no class at all.
    fn sqlstates() -> impl Strategy<Value = DbError> {
        let known = prop::sample::select(
            &[
                "00000", "01000", "08006", "0A000", "21000", "22012", "2200H", "23505", "25006", "28000",
                "40001", "42501", "42P01", "53100", "54000", "55000", "55P03", "57014", "57P01", "58030",
                "F0000", "P0001", "U0001", "XX000",
            ][..],
        )
        .prop_map(str::to_owned);
        let server = prop_oneof![known, "[0-9A-Z]{5}"]
            .prop_map(|sqlstate| ServerError::with_sqlstate(sqlstate).into());
        prop_oneof![20 => server, 1 => Just(DbError::TimedOut), 1 => Just(DbError::Connection("lost".to_owned()))]
    }

    proptest! {
        #[test]
        fn an_adversary_with_any_code_stops_nobody_and_is_not_held_for_ever(
            records in 2usize..80, adversary in 0usize..80, error in sqlstates(),
        ) {
            let adversary = adversary % records;
            let error_of = |position| (position == adversary).then(|| error.clone());
            let mut simulation = Simulation::of(records, &error_of);
            for _ in 0..100 {
                simulation.turn();
                simulation.plan.begin_turn(simulation.commits);
            }
            prop_assert_eq!(simulation.stored.len(), records - 1);
            prop_assert_eq!(simulation.left.into_iter().collect::<Vec<_>>(), [adversary]);
        }

        #[test]
        fn what_fails_alike_is_held_and_stored_once_it_is_mended(records in 1usize..80, error in sqlstates()) {
            let broken = std::cell::Cell::new(true);
            let error_of = |_| broken.get().then(|| error.clone());
            let mut simulation = Simulation::of(records, &error_of);
            for _ in 0..20 {
                simulation.turn();
                prop_assert_eq!(simulation.held(), records);
                simulation.plan.begin_turn(simulation.commits);
            }
            broken.set(false);
            for _ in 0..10 {
                simulation.turn();
                simulation.plan.begin_turn(simulation.commits);
            }
            prop_assert_eq!(simulation.stored.len(), records);
            prop_assert_eq!((simulation.left.len(), simulation.rejected.len()), (0, 0));
        }
    }

    #[test]
    fn a_slow_record_holds_the_others_up_for_one_statement_of_its_turn() {
        let slow = DbError::from(ServerError::with_sqlstate("57014"));
        let error_of = |position| (position == 0).then(|| slow.clone());
        let mut simulation = Simulation::of(2, &error_of);
        simulation.turn();
        assert_eq!((simulation.stored.len(), simulation.held()), (0, 2), "the second is not tried yet");
        simulation.plan.begin_turn(0);
        simulation.turn();
        assert_eq!((simulation.stored.len(), simulation.held()), (1, 1));
    }

    #[test]
    fn a_commit_of_others_opens_everything_as_one_segment() {
        let error = DbError::from(ServerError::with_sqlstate("U0001"));
        let error_of = |_| Some(error.clone());
        let mut simulation = Simulation::of(40, &error_of);
        simulation.turn();
        simulation.plan.begin_turn(1);
        assert_eq!(simulation.plan.next().map(|segment| segment.records.len()), Some(40));
        assert!(simulation.plan.next().is_none());
    }
}
