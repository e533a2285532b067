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

/// What is known of the parts of a piece. Nothing of it counts before the commit.
struct Search {
    found: Vec<(Piece, Verdict)>,
    open: VecDeque<Piece>,
}

enum Verdict {
    Stored(Fresh),
    ToBlame(Reason, DbError),
}

impl Committer {
    /// Settles the records of a piece that was refused because of some of them, or gives parts of it back to `pieces`: those that
    /// there was no time for, or all of them after any failure that is not a record's, each to be stored by itself then.
    pub(super) async fn search(&mut self, load: &mut Load, piece: Piece, pieces: &mut VecDeque<Piece>) {
        let mut search = Search { found: Vec::new(), open: piece.halves().into() };
        let span = spans::commit(&load.target.table, search.records(), load.spans(search.entries()));
        let begun = Instant::now();
        let searched = self.try_search(load, &mut search, begun).instrument(span.clone()).await;
        spans::committed(&span, &searched);
        if let Err(error) = searched {
            self.end_search(&error).await;
            search.into_pieces().rev().for_each(|piece| pieces.push_front(piece));
            return;
        }
        let Search { found, open } = search;
        metrics::commit(found.iter().map(|(piece, verdict)| verdict.stored(piece)).sum(), begun.elapsed());
        for (piece, verdict) in found {
            match verdict {
                Verdict::Stored(fresh) => self.settle_stored(load, &piece, &fresh),
                Verdict::ToBlame(reason, error) => reject(load, &piece.entries, reason, &error),
            }
        }
        open.into_iter().rev().for_each(|piece| pieces.push_front(piece));
    }

    /// Ok only once all that was found is committed. The parts are tried in the order of their keys, as within a statement, so
    /// that searches cannot deadlock either.
    async fn try_search(&mut self, load: &Load, search: &mut Search, begun: Instant) -> Result<(), DbError> {
        let target = Arc::clone(&load.target);
        let session = self.session().await?;
        session.begin().await?;
        while let Some(piece) = search.open.pop_front() {
            let records: Vec<_> = piece.entries.iter().map(|entry| &entry.record).collect();
            match statement::insert(session, &target.statements, &records, piece.form).await {
                Ok(fresh) => {
                    search.found.push((piece, Verdict::Stored(fresh)));
                    session.keep().await?;
                }
                Err(error) => {
                    let owner = owner_for(&error, &target);
                    search.note(piece, owner, error)?;
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
    /// Notes that a part was refused. Err when that may not be for a record of it: no part is lost then.
    fn note(&mut self, piece: Piece, owner: Owner, error: DbError) -> Result<(), DbError> {
        match owner {
            Owner::Record(reason) if piece.entries.len() == 1 => {
                self.found.push((piece, Verdict::ToBlame(reason, error)));
                Ok(())
            }
            Owner::Record(_) => {
                piece.halves().into_iter().rev().for_each(|half| self.open.push_front(half));
                Ok(())
            }
            _ => {
                self.open.push_front(piece);
                Err(error)
            }
        }
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.open.iter().flat_map(|piece| &piece.entries)
    }

    fn records(&self) -> usize {
        self.entries().count()
    }

    /// All parts, in the order of their keys.
    fn into_pieces(self) -> impl DoubleEndedIterator<Item = Piece> {
        let found = self.found.into_iter().map(|(piece, _)| piece);
        found.chain(self.open).map(Piece::by_itself)
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

    proptest! {
        #[test]
        fn a_search_finds_exactly_the_culprits_and_a_search_that_is_given_up_loses_nobody(
            records in 2usize..60,
            culprits: [u64; 1],
            give_up_after: prop::sample::Index,
        ) {
            let to_blame = |position: usize| culprits[0] >> position & 1 == 1;
            let mut search = Search { found: Vec::new(), open: piece(records).halves().into() };
            let give_up_after = give_up_after.index(3 * records);
            let mut tried = 0;
            while let Some(part) = search.open.pop_front() {
                let before = positions(search.found.iter().map(|(piece, _)| piece));
                prop_assert!(before.last() < positions(std::iter::once(&part)).first(), "in order");
                tried += 1;
                if tried > give_up_after {
                    prop_assert!(search.note(part, Owner::Infrastructure, DbError::TimedOut).is_err());
                    let pieces: Vec<_> = search.into_pieces().collect();
                    prop_assert_eq!(positions(pieces.iter()), (0..records).collect::<Vec<_>>());
                    return Ok(());
                }
                if part.entries.iter().any(|entry| to_blame(entry.record.position)) {
                    search.note(part, Owner::Record(Reason::Constraint), refused()).unwrap();
                } else {
                    search.found.push((part, Verdict::Stored(Fresh::All)));
                }
            }
            let blamed = search.found.iter().filter(|(_, verdict)| matches!(verdict, Verdict::ToBlame(..)));
            let expected: Vec<_> = (0..records).filter(|position| to_blame(*position)).collect();
            prop_assert_eq!(positions(blamed.map(|(piece, _)| piece)), expected);
            prop_assert_eq!(search.found.iter().map(|(piece, _)| piece.entries.len()).sum::<usize>(), records);
        }
    }
}
