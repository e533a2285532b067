//! One commit batch on its way into the table: stays with it until every record has an outcome.

use std::collections::VecDeque;
use std::time::Instant;

use tonic::Status;
use tracing::Instrument;

use super::CommitCount;
use super::commit_batch::CommitBatch;
use super::insert::{NewKeys, insert};
use super::recovery::Recovery;
use super::retrying_session::RetryingSession;
use super::search::{SearchResult, search};
use super::segment::Segment;
use super::validation::validate_in_postgres;
use crate::database::{Blame, DbError};
use crate::ledger::accepts;
use crate::metrics;
use crate::spans;
use crate::target::InsertMode;

pub(super) struct CommitRun<'committer> {
    session: &'committer mut RetryingSession,
    commits: &'committer CommitCount,
    batch: &'committer mut CommitBatch,
    /// The segments of the current round that are still to be stored, in order.
    open: VecDeque<Segment>,
}

impl<'committer> CommitRun<'committer> {
    pub(super) fn new(
        session: &'committer mut RetryingSession,
        commits: &'committer CommitCount,
        batch: &'committer mut CommitBatch,
    ) -> Self {
        Self { session, commits, batch, open: VecDeque::new() }
    }

    /// Settles every record. Err ends the streams: their target differs from the catalogue's definition.
    pub(super) async fn store(mut self) -> Result<(), Status> {
        validate_in_postgres(self.session, self.batch).await?;
        if self.batch.has_rejections() {
            self.session.check_target(&self.batch.target).await?;
        }
        let mut mode = InsertMode::Plain;
        for round in self.batch.take_rounds() {
            self.open.push_back(Segment::new(round, mode));
            self.store_open().await?;
            // The keys of a later round are known from the first one.
            mode = InsertMode::Skipping;
        }
        Ok(())
    }

    async fn store_open(&mut self) -> Result<(), Status> {
        while let Some(mut segment) = self.open.pop_front() {
            self.leave_outside_window(&mut segment);
            if segment.records.is_empty() {
                continue;
            }
            match self.insert(&segment).await {
                Ok(new_keys) => self.settle_committed(&segment, &new_keys),
                Err(error) => self.recover(&error, segment).await?,
            }
        }
        Ok(())
    }

    /// Checked before every attempt, because an outage may last days.
    fn leave_outside_window(&mut self, segment: &mut Segment) {
        let now = self.session.database_now_ms();
        for record in segment.records.extract_if(.., |record| !accepts(now, record.record.sent_ms)) {
            self.batch.leave_outside_window(&record);
        }
    }

    async fn insert(&mut self, segment: &Segment) -> Result<NewKeys, DbError> {
        let session = self.session.session().await?;
        let (target, rows) = (&self.batch.target, segment.rows());
        let span = spans::commit(&target.table, rows.len(), self.batch.spans(segment.records.iter()));
        let begun = Instant::now();
        let insert = insert(session, &target.statements, &rows, segment.mode);
        let inserted = insert.instrument(span.clone()).await;
        spans::committed(&span, &inserted);
        let new_keys = inserted?;
        metrics::commit(new_keys.count(rows.len()), begun.elapsed());
        Ok(new_keys)
    }

    fn settle_committed(&mut self, segment: &Segment, new_keys: &NewKeys) {
        self.commits.add_one();
        self.session.note_commit();
        self.batch.settle_committed(&segment.records, new_keys, self.session.database_now_ms());
    }

    /// Does what the failure of a segment calls for. Segments that are still to be stored become open again.
    async fn recover(&mut self, error: &DbError, mut segment: Segment) -> Result<(), Status> {
        let blame = self.batch.target.blame(error);
        if blame == Blame::Ledger {
            metrics::ledger_fallback();
        }
        match segment.recover(blame, self.commits.get()) {
            Recovery::Skip => {
                segment.mode = InsertMode::Skipping;
                self.open.push_front(segment);
            }
            Recovery::Search => self.search(segment).await,
            Recovery::Halve => self.open_again(segment.halves()),
            Recovery::WaitAndHalve => {
                self.wait_after(error).await?;
                self.open_again(segment.halves());
            }
            Recovery::Reject(reason) => self.batch.reject(&segment.records, reason, error),
            Recovery::Leave => self.batch.leave_undecided(&segment.records, error),
            Recovery::Probe => {
                self.probe(&mut segment).await?;
                self.open.push_back(segment);
            }
            Recovery::Retry => {
                self.wait_after(error).await?;
                self.open.push_front(segment);
            }
            Recovery::RetryLast => {
                self.wait_after(error).await?;
                self.open.push_back(segment);
            }
        }
        Ok(())
    }

    /// Puts segments before all others, in their order.
    fn open_again(&mut self, segments: impl IntoIterator<Item = Segment, IntoIter: DoubleEndedIterator>) {
        segments.into_iter().rev().for_each(|segment| self.open.push_front(segment));
    }

    async fn wait_after(&mut self, error: &DbError) -> Result<(), Status> {
        self.session.wait_after(error, &self.batch.target).await
    }

    async fn probe(&mut self, segment: &mut Segment) -> Result<(), Status> {
        match self.session.probe(&self.batch.target).await {
            Ok(check) => {
                check?;
                self.session.note_database_works();
                segment.failures.note_database_works();
                Ok(())
            }
            Err(error) => self.wait_after(&error).await,
        }
    }

    /// Settles the records that a search decides on; the segments that it does not decide on are open again.
    async fn search(&mut self, segment: Segment) {
        let searched = search(self.session, self.batch, segment).await;
        for (segment, result) in searched.decided {
            match result {
                SearchResult::Stored(new_keys) => self.settle_committed(&segment, &new_keys),
                SearchResult::ToBlame(reason, error) => self.batch.reject(&segment.records, reason, &error),
            }
        }
        self.open_again(searched.undecided);
    }
}
