//! The search for records that cannot be stored. The parts of a segment are tried one by one within one
//! transaction, so that everything that can be stored costs one commit.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Instrument;
use veilpost_proto::v1::Reason;
use veilpost_runtime::telemetry::watch_warnings;

use super::commit_batch::{BatchRecord, CommitBatch};
use super::insert::{NewKeys, insert};
use super::retrying_session::RetryingSession;
use super::segment::Segment;
use crate::database::{Blame, DbError, Transaction};
use crate::metrics;
use crate::spans;
use crate::target::{OwnParts, ResolvedTarget};

/// How long a search may hold its transaction open; the parts that are left then have another one.
const LONGEST: Duration = Duration::from_secs(1);

/// When more than one record in `MANY` fails, parts are tried record by record.
const MANY: usize = 3;

/// After this number of undecided records and none that can be stored, everything seems to fail alike, and
/// the search ends.
const ALIKE: usize = 16;

/// What a search has found, after its transaction.
pub(super) struct Searched {
    pub(super) decided: Vec<(Segment, SearchResult)>,
    /// Segments that are still to be stored, in the order of their keys.
    pub(super) undecided: Vec<Segment>,
}

pub(super) enum SearchResult {
    Stored(NewKeys),
    ToBlame(Reason, DbError),
    /// A single record failed, and it is not certain that it is to blame.
    Undecided(DbError),
}

/// Searches a segment that failed because of some of its records.
///
/// Parts for which there was no time remain undecided. After any failure of the infrastructure all parts do,
/// and they are stored without another search then.
pub(super) async fn search(
    session: &mut RetryingSession,
    batch: &CommitBatch,
    own: &mut OwnParts,
    segment: Segment,
) -> Searched {
    let mut search = Search::new(segment);
    let span = spans::commit(&batch.target.table, search.records().count(), batch.spans(search.records()));
    let begun = Instant::now();
    let run = run(session, &batch.target, own, &mut search, begun).instrument(span.clone());
    let (mut searched, warned) = watch_warnings(Box::pin(run)).await;
    spans::committed(&span, &searched);
    if warned && searched.is_ok() {
        searched = session.confirm().await;
    }
    if let Err(error) = searched {
        tracing::debug!(error = error.to_string(), "a search was given up; its parts are stored one by one");
        session.roll_back(&error).await;
        return Searched { decided: Vec::new(), undecided: search.give_up() };
    }
    let Search { decided, open, .. } = search;
    let stored = decided.iter().map(|(segment, result)| result.stored(segment.records.len())).sum();
    metrics::commit(stored, begun.elapsed());
    Searched { decided, undecided: open.into_iter().map(|part| part.segment).collect() }
}

/// Ok only once everything that was stored is committed. Parts are tried in the order of their keys, as
/// within a statement, so that searches cannot deadlock either.
async fn run(
    session: &mut RetryingSession,
    target: &Arc<ResolvedTarget>,
    own: &mut OwnParts,
    search: &mut Search,
    begun: Instant,
) -> Result<(), DbError> {
    let mut transaction = Transaction::begin(session.session().await?).await?;
    while let Some(part) = search.open.pop_front() {
        let (records, mode) = (part.segment.as_records(), part.segment.mode);
        let rows = part.segment.as_rows(&target.statements);
        match insert(transaction.session(), &target.statements, &records, &rows, mode).await {
            Ok(new_keys) => {
                search.stored(part, new_keys);
                transaction.keep().await?;
            }
            Err(error) => {
                let blame = match transaction.undo().await {
                    Ok(()) => own.blame(transaction.session(), target, &error).await,
                    Err(_) => Blame::Infrastructure,
                };
                search.refused(part, blame, error)?;
            }
        }
        if begun.elapsed() >= LONGEST || search.all_fail_alike() {
            break;
        }
    }
    transaction.commit().await
}

/// What is known of the parts of a segment. None of it counts before the commit.
struct Search {
    decided: Vec<(Segment, SearchResult)>,
    /// The parts that are still to be tried, in order.
    open: VecDeque<Part>,
    /// How many records have been tried to the end, how many of them failed, and how many of those without
    /// anybody to blame.
    decided_records: usize,
    failed: usize,
    undecided: usize,
}

struct Part {
    segment: Segment,
    /// Whether it is the first half of a refused segment: when it can be stored, the second half is to blame.
    is_first_half: bool,
}

impl Search {
    /// Starts with a segment that was refused as a whole.
    fn new(segment: Segment) -> Self {
        let (decided, open) = (Vec::new(), VecDeque::new());
        let mut search = Self { decided, open, decided_records: 0, failed: 0, undecided: 0 };
        search.split(segment);
        search
    }

    /// The second half of a refused segment is split without being tried as a whole when the first half is
    /// stored.
    fn stored(&mut self, part: Part, new_keys: NewKeys) {
        let Part { segment, is_first_half } = part;
        self.decided_records += segment.records.len();
        self.decided.push((segment, SearchResult::Stored(new_keys)));
        if is_first_half && let Some(second_half) = self.open.pop_front() {
            self.split(second_half.segment);
        }
    }

    /// Notes that a part failed. Err when that says nothing of its records; the part is open again then.
    fn refused(&mut self, part: Part, blame: Blame, error: DbError) -> Result<(), DbError> {
        let result = match blame {
            Blame::Record(_) | Blame::Undecided if part.segment.records.len() > 1 => {
                self.split(part.segment);
                return Ok(());
            }
            Blame::Record(reason) => SearchResult::ToBlame(reason, error),
            Blame::Undecided => {
                self.undecided += 1;
                SearchResult::Undecided(error)
            }
            _ => {
                self.open.push_front(part);
                return Err(error);
            }
        };
        self.decided_records += 1;
        self.failed += 1;
        self.decided.push((part.segment, result));
        Ok(())
    }

    fn all_fail_alike(&self) -> bool {
        self.undecided >= ALIKE && self.undecided == self.decided_records
    }

    /// Where many records are to blame, nearly every half would be refused too; then each record is tried
    /// alone.
    fn split(&mut self, segment: Segment) {
        let many = self.failed * MANY > self.decided_records;
        let mut push = |segment, is_first_half| self.open.push_front(Part { segment, is_first_half });
        if many || segment.records.len() == 1 {
            segment.singles().rev().for_each(|single| push(single, false));
        } else {
            let [first, second] = segment.halves();
            push(second, false);
            push(first, true);
        }
    }

    fn records(&self) -> impl Iterator<Item = &BatchRecord> {
        self.open.iter().flat_map(|part| &part.segment.records)
    }

    /// All parts, in the order of their keys.
    fn give_up(self) -> Vec<Segment> {
        let decided = self.decided.into_iter().map(|(segment, _)| segment);
        let open = self.open.into_iter().map(|part| part.segment);
        decided.chain(open).map(Segment::without_search).collect()
    }
}

impl SearchResult {
    /// How many of `records` records were stored.
    fn stored(&self, records: usize) -> usize {
        match self {
            Self::Stored(new_keys) => new_keys.count(records),
            Self::ToBlame(..) | Self::Undecided(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::segment::tests::segment;
    use super::*;
    use crate::database::ServerError;
    use proptest::prelude::*;

    fn positions<'a>(segments: impl Iterator<Item = &'a Segment>) -> Vec<usize> {
        segments.flat_map(|segment| &segment.records).map(|record| record.record.position).collect()
    }

    fn refused() -> DbError {
        ServerError::with_sqlstate("23514").into()
    }

    /// A search for the records at certain positions that is given up after `give_up_after` statements, and
    /// the number of statements that it took.
    fn search(records: usize, to_blame: impl Fn(usize) -> bool, give_up_after: usize) -> (Search, usize) {
        let mut search = Search::new(segment(records));
        let mut statements = 0;
        while let Some(part) = search.open.pop_front() {
            let before = positions(search.decided.iter().map(|(segment, _)| segment));
            assert!(before.last() < positions(std::iter::once(&part.segment)).first(), "in order");
            if statements == give_up_after {
                search.refused(part, Blame::Infrastructure, DbError::TimedOut).unwrap_err();
                break;
            }
            statements += 1;
            if part.segment.records.iter().any(|record| to_blame(record.record.position)) {
                search.refused(part, Blame::Record(Reason::Constraint), refused()).unwrap();
            } else {
                search.stored(part, NewKeys::All);
            }
        }
        (search, statements)
    }

    #[test]
    fn few_culprits_take_few_statements_and_many_one_for_each_record() {
        for (every, most) in [(1, 1020), (2, 1020), (10, 900), (100, 140), (1000, 20)] {
            let (_, statements) = search(1000, |position| position % every == every / 2, usize::MAX);
            assert!(statements <= most, "{statements} statements with one culprit in {every}");
        }
    }

    #[test]
    fn what_fails_alike_ends_a_search_and_one_record_that_can_be_stored_does_not() {
        let undecided = |search: &mut Search| {
            let part = search.open.pop_front().unwrap();
            search.refused(part, Blame::Undecided, ServerError::with_sqlstate("2200H").into()).unwrap();
        };
        let mut alike = Search::new(segment(100));
        while !alike.all_fail_alike() {
            undecided(&mut alike);
        }
        assert_eq!(alike.decided.len(), ALIKE);
        let mut mixed = Search::new(segment(100));
        let first = mixed.open.pop_front().unwrap();
        mixed.stored(first, NewKeys::All);
        while !mixed.open.is_empty() {
            undecided(&mut mixed);
        }
        assert!(!mixed.all_fail_alike());
    }

    proptest! {
        #[test]
        fn a_search_finds_exactly_the_culprits(records in 2usize..64, culprits: u64) {
            let to_blame = |position: usize| culprits >> position & 1 == 1;
            let (search, _) = search(records, to_blame, usize::MAX);
            let blamed = search.decided.iter().filter(|(_, result)| matches!(result, SearchResult::ToBlame(..)));
            let expected: Vec<_> = (0..records).filter(|position| to_blame(*position)).collect();
            prop_assert_eq!(positions(blamed.map(|(segment, _)| segment)), expected);
            let decided = positions(search.decided.iter().map(|(segment, _)| segment));
            prop_assert_eq!(decided, (0..records).collect::<Vec<_>>());
        }

        #[test]
        fn a_search_that_is_given_up_loses_no_record(records in 2usize..64, culprits: u64, statements in 0usize..150) {
            let (search, _) = search(records, |position| culprits >> position & 1 == 1, statements);
            let segments = search.give_up();
            prop_assert_eq!(positions(segments.iter()), (0..records).collect::<Vec<_>>());
        }
    }
}
