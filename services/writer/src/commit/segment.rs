//! A part of a commit batch that is stored by one statement.

use super::commit_batch::BatchRecord;
use super::recovery::{FailedStatement, FailureHistory, Recovery};
use crate::database::{Blame, DbError};
use crate::record::Record;
use crate::target::{InsertMode, InsertStatements};

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) records: Vec<BatchRecord>,
    pub(super) mode: InsertMode,
    pub(super) failures: FailureHistory,
    /// The last one of its failures.
    pub(super) error: Option<DbError>,
}

impl Segment {
    pub(super) fn new(records: Vec<BatchRecord>, mode: InsertMode) -> Self {
        Self { records, mode, failures: FailureHistory::default(), error: None }
    }

    /// The records as a statement takes them.
    pub(super) fn as_records(&self) -> Vec<&Record> {
        self.records.iter().map(|record| &record.record).collect()
    }

    /// The records in the order in which their rows are bound: as they arrived, where that matters.
    pub(super) fn as_rows(&self, statements: &InsertStatements) -> Vec<&Record> {
        let mut records: Vec<&BatchRecord> = self.records.iter().collect();
        if statements.keep_order_of_rows() {
            records.sort_by_key(|record| record.arrival());
        }
        records.into_iter().map(|record| &record.record).collect()
    }

    pub(super) fn halves(mut self) -> [Self; 2] {
        let second = self.records.split_off(self.records.len() / 2);
        let first = std::mem::take(&mut self.records);
        [first, second].map(|half| self.part(half))
    }

    /// One segment for each record.
    pub(super) fn singles(mut self) -> impl DoubleEndedIterator<Item = Self> {
        let records = std::mem::take(&mut self.records);
        records.into_iter().map(move |record| self.part(vec![record]))
    }

    fn part(&self, records: Vec<BatchRecord>) -> Self {
        Self { records, mode: self.mode, failures: self.failures, error: self.error.clone() }
    }

    /// The same segment after a search was given up: no further search includes it.
    pub(super) fn without_search(mut self) -> Self {
        self.failures.note_without_search();
        self
    }

    /// Notes that the statement failed, and decides what to do about it. `commits` is the number of commits
    /// with rows that all committers have made.
    pub(super) fn recover(&mut self, blame: Blame, commits: u64) -> Recovery {
        let failed = FailedStatement { mode: self.mode, single: self.records.len() == 1, commits };
        self.failures.recover(blame, failed)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use veilpost_proto::v1::Reason;

    /// Records in the order of their positions; the statement skips known keys.
    pub(in crate::commit) fn segment(records: usize) -> Segment {
        let records = (0..records).map(Record::for_tests).map(BatchRecord::for_tests);
        Segment::new(records.collect(), InsertMode::Skipping)
    }

    proptest! {
        #[test]
        fn halving_finds_a_single_culprit_and_stores_all_others(records in 1usize..200, culprit in 0usize..200) {
            let culprit = culprit % records;
            let mut segments = vec![segment(records)];
            let (mut stored, mut rejected, mut statements) = (0, Vec::new(), 0);
            while let Some(mut segment) = segments.pop() {
                statements += 1;
                if segment.records.iter().all(|record| record.record.position != culprit) {
                    stored += segment.records.len();
                    continue;
                }
                match segment.recover(Blame::Record(Reason::Constraint), 0) {
                    Recovery::Reject(_) => rejected.push(segment.records[0].record.position),
                    _ => segments.extend(segment.halves()),
                }
            }
            prop_assert_eq!((stored, rejected), (records - 1, vec![culprit]));
            prop_assert!(statements <= 2 * usize::try_from(usize::BITS - records.leading_zeros()).unwrap() + 1);
        }

        #[test]
        fn splitting_keeps_the_records_and_their_order(records in 1usize..200) {
            let positions = |segments: Vec<Segment>| -> Vec<usize> {
                let records = segments.iter().flat_map(|segment| &segment.records);
                records.map(|record| record.record.position).collect()
            };
            prop_assert_eq!(positions(segment(records).halves().into()), (0..records).collect::<Vec<_>>());
            prop_assert_eq!(positions(segment(records).singles().collect()), (0..records).collect::<Vec<_>>());
        }
    }
}
