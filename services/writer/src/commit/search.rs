//! The search for records that a table refuses: the parts of a piece are tried one by one within a single transaction, so that
//! all that can be stored costs one commit.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Instrument;
use veilpost_proto::v1::Reason;

use super::Committer;
use super::committer::reject;
use super::load::{Entry, Load};
use super::piece::Piece;
use super::recover::owner_for;
use crate::database::{DbError, Owner};
use crate::metrics;
use crate::spans;
use crate::statement::{self, Fresh};

/// How long a search may hold its transaction open; what is still to be tried then has another one.
const LONGEST: Duration = Duration::from_secs(1);

/// More than one record to blame in so many is many.
const MANY: usize = 3;

/// What is known of the parts of a piece. Nothing of it counts before the commit.
struct Search {
    found: Vec<(Piece, Verdict)>,
    /// What is still to be tried, in order.
    open: VecDeque<Part>,
    /// How many records have a verdict, and how many of them are to blame.
    judged: usize,
    to_blame: usize,
}

struct Part {
    piece: Piece,
    /// The first half of what was refused: when it can be stored, the part behind it cannot.
    clears_itself: bool,
}

enum Verdict {
    Stored(Fresh),
    ToBlame(Reason, DbError),
}

impl Committer {
    /// Settles the records of a piece that was refused because of some of them, or gives parts of it back to `pieces`: those that
    /// there was no time for, or all of them after any failure that is not a record's, each to be stored by itself then.
    pub(super) async fn search(&mut self, load: &mut Load, piece: Piece, pieces: &mut VecDeque<Piece>) {
        let mut search = Search::of(piece);
        let span = spans::commit(&load.target.table, search.records(), load.spans(search.entries()));
        let begun = Instant::now();
        let searched = self.try_search(load, &mut search, begun).instrument(span.clone()).await;
        spans::committed(&span, &searched);
        if let Err(error) = searched {
            self.end_search(&error).await;
            search.into_pieces().rev().for_each(|piece| pieces.push_front(piece));
            return;
        }
        let Search { found, open, .. } = search;
        metrics::commit(found.iter().map(|(piece, verdict)| verdict.stored(piece)).sum(), begun.elapsed());
        for (piece, verdict) in found {
            match verdict {
                Verdict::Stored(fresh) => self.settle_stored(load, &piece, &fresh),
                Verdict::ToBlame(reason, error) => reject(load, &piece.entries, reason, &error),
            }
        }
        open.into_iter().rev().for_each(|part| pieces.push_front(part.piece));
    }

    /// Ok only once all that was found is committed. The parts are tried in the order of their keys, as within a statement, so
    /// that searches cannot deadlock either.
    async fn try_search(&mut self, load: &Load, search: &mut Search, begun: Instant) -> Result<(), DbError> {
        let target = Arc::clone(&load.target);
        let session = self.session().await?;
        session.begin().await?;
        while let Some(part) = search.open.pop_front() {
            let records: Vec<_> = part.piece.entries.iter().map(|entry| &entry.record).collect();
            match statement::insert(session, &target.statements, &records, part.piece.form).await {
                Ok(fresh) => {
                    search.stored(part, fresh);
                    session.keep().await?;
                }
                Err(error) => {
                    search.refused(part, owner_for(&error, &target), error)?;
                    session.undo().await?;
                }
            }
            if begun.elapsed() >= LONGEST {
                break;
            }
        }
        session.commit().await
    }

    /// Leaves no transaction open on a connection that is used again.
    async fn end_search(&mut self, error: &DbError) {
        tracing::debug!(error = error.to_string(), "a search was given up; its parts are stored one by one");
        if let Some(mut session) = self.session.take()
            && !error.ends_connection()
            && session.rollback().await.is_ok()
        {
            self.session = Some(session);
        }
    }
}

impl Search {
    /// Of a piece that was refused as a whole.
    fn of(piece: Piece) -> Self {
        let mut search = Self { found: Vec::new(), open: VecDeque::new(), judged: 0, to_blame: 0 };
        search.split(piece);
        search
    }

    fn stored(&mut self, part: Part, fresh: Fresh) {
        let Part { piece, clears_itself } = part;
        self.judged += piece.entries.len();
        self.found.push((piece, Verdict::Stored(fresh)));
        if clears_itself && let Some(part) = self.open.pop_front() {
            self.split(part.piece);
        }
    }

    /// Notes that a part was refused. Err when that may not be for a record of it: no part is lost then.
    fn refused(&mut self, part: Part, owner: Owner, error: DbError) -> Result<(), DbError> {
        match owner {
            Owner::Record(reason) if part.piece.entries.len() == 1 => {
                self.judged += 1;
                self.to_blame += 1;
                self.found.push((part.piece, Verdict::ToBlame(reason, error)));
                Ok(())
            }
            Owner::Record(_) => {
                self.split(part.piece);
                Ok(())
            }
            _ => {
                self.open.push_front(part);
                Err(error)
            }
        }
    }

    /// Where many are to blame, halves would nearly all be refused as well: then one by one.
    fn split(&mut self, piece: Piece) {
        let many = self.to_blame * MANY > self.judged;
        let mut push = |piece, clears_itself| self.open.push_front(Part { piece, clears_itself });
        if many || piece.entries.len() == 1 {
            piece.singles().rev().for_each(|single| push(single, false));
        } else {
            let [first, second] = piece.halves();
            push(second, false);
            push(first, true);
        }
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.open.iter().flat_map(|part| &part.piece.entries)
    }

    fn records(&self) -> usize {
        self.entries().count()
    }

    /// All parts, in the order of their keys.
    fn into_pieces(self) -> impl DoubleEndedIterator<Item = Piece> {
        let found = self.found.into_iter().map(|(piece, _)| piece);
        found.chain(self.open.into_iter().map(|part| part.piece)).map(Piece::by_itself)
    }
}

impl Verdict {
    fn stored(&self, piece: &Piece) -> usize {
        match self {
            Self::Stored(Fresh::All) => piece.entries.len(),
            Self::Stored(Fresh::Only(keys)) => keys.len(),
            Self::ToBlame(..) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::piece::tests::piece;
    use super::*;
    use crate::database::ServerError;
    use proptest::prelude::*;

    fn positions<'a>(pieces: impl Iterator<Item = &'a Piece>) -> Vec<usize> {
        pieces.flat_map(|piece| &piece.entries).map(|entry| entry.record.position).collect()
    }

    fn refused() -> DbError {
        ServerError::with_sqlstate("23514").into()
    }

    /// The statements that a search takes whose culprits are told by their positions; it is given up after so many.
    fn search(records: usize, to_blame: impl Fn(usize) -> bool, give_up_after: usize) -> (Search, usize) {
        let mut search = Search::of(piece(records));
        let mut statements = 0;
        while let Some(part) = search.open.pop_front() {
            let before = positions(search.found.iter().map(|(piece, _)| piece));
            assert!(before.last() < positions(std::iter::once(&part.piece)).first(), "in order");
            if statements == give_up_after {
                search.refused(part, Owner::Infrastructure, DbError::TimedOut).unwrap_err();
                break;
            }
            statements += 1;
            if part.piece.entries.iter().any(|entry| to_blame(entry.record.position)) {
                search.refused(part, Owner::Record(Reason::Constraint), refused()).unwrap();
            } else {
                search.stored(part, Fresh::All);
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

    proptest! {
        #[test]
        fn a_search_finds_exactly_the_culprits(records in 2usize..64, culprits: u64) {
            let to_blame = |position: usize| culprits >> position & 1 == 1;
            let (search, _) = search(records, to_blame, usize::MAX);
            let blamed = search.found.iter().filter(|(_, verdict)| matches!(verdict, Verdict::ToBlame(..)));
            let expected: Vec<_> = (0..records).filter(|position| to_blame(*position)).collect();
            prop_assert_eq!(positions(blamed.map(|(piece, _)| piece)), expected);
            prop_assert_eq!(positions(search.found.iter().map(|(piece, _)| piece)), (0..records).collect::<Vec<_>>());
        }

        #[test]
        fn a_search_that_is_given_up_loses_nobody(records in 2usize..64, culprits: u64, statements in 0usize..150) {
            let (search, _) = search(records, |position| culprits >> position & 1 == 1, statements);
            let pieces: Vec<_> = search.into_pieces().collect();
            prop_assert_eq!(positions(pieces.iter()), (0..records).collect::<Vec<_>>());
        }
    }
}
