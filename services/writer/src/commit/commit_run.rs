//! One commit batch on its way into the table: stays with it until every record has an outcome.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use tonic::Status;
use tracing::Instrument;
use veilpost_runtime::telemetry::watch_warnings;

use super::CommitCount;
use super::commit_batch::{BatchClaim, BatchRecord, CommitBatch, LedgerEntries};
use super::insert::{NewKeys, insert};
use super::plan::{Plan, Step};
use super::recovery::FailureHistory;
use super::retrying_session::RetryingSession;
use super::search::{SearchResult, search};
use super::segment::Segment;
use super::validation::validate_in_postgres;
use crate::database::{Blame, DbError, host_now_ms};
use crate::ledger::{SentKey, WindowDecision, decide_by_window};
use crate::metrics;
use crate::spans;
use crate::target::{InsertMode, OwnParts};

/// It holds nothing of a connection, so it can be suspended between two turns.
#[derive(Debug)]
pub(super) struct CommitRun {
    pub(super) batch: CommitBatch,
    /// Copies of keys that are in the current round; None before the first turn.
    later_rounds: Option<VecDeque<Vec<BatchRecord>>>,
    pub(super) plan: Plan,
    /// Of the rejected records whose keys cannot be claimed while clocks may be wrong.
    claim_failures: FailureHistory,
    own: OwnParts,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TurnEnd {
    /// Every record has an outcome.
    Done,
    /// Records are held back: they fail, and so does everything else.
    Held,
}

/// One turn of a run: what it works with.
pub(super) struct Turn<'a> {
    pub(super) run: &'a mut CommitRun,
    pub(super) session: &'a mut RetryingSession,
    pub(super) commits: &'a CommitCount,
}

impl CommitRun {
    pub(super) fn new(batch: CommitBatch) -> Self {
        Self {
            batch,
            later_rounds: None,
            plan: Plan::default(),
            claim_failures: FailureHistory::default(),
            own: OwnParts::default(),
        }
    }

    /// Lets go of records whose senders no longer wait: they come again.
    pub(super) fn drop_abandoned(&mut self) {
        let batch = &self.batch;
        self.plan.retain_held(|record| !batch.is_abandoned(record));
        self.batch.drop_abandoned_claims();
    }

    /// Whether records are held back.
    pub(super) fn holds(&self) -> bool {
        self.plan.holds() || self.batch.held_claims().next().is_some()
    }
}

impl Turn<'_> {
    /// Settles every record that can be. Err ends the streams: their target differs from the catalogue's
    /// definition.
    pub(super) async fn take(mut self) -> Result<TurnEnd, Status> {
        self.validate().await?;
        self.run.plan.begin_turn(self.commits.get());
        loop {
            while let Some(segment) = self.run.plan.next() {
                self.store(segment).await?;
            }
            self.claim().await?;
            if self.run.holds() {
                return Ok(TurnEnd::Held);
            }
            let Some(round) = self.run.later_rounds.as_mut().and_then(VecDeque::pop_front) else {
                return Ok(TurnEnd::Done);
            };
            // The keys of a later round are known from the first one.
            self.run.plan.open(Segment::new(round, InsertMode::Skipping));
        }
    }

    /// Before the first statement only.
    async fn validate(&mut self) -> Result<(), Status> {
        if self.run.later_rounds.is_some() {
            return Ok(());
        }
        validate_in_postgres(self.session, &mut self.run.batch).await?;
        if self.run.batch.has_rejections() {
            self.session.check_target(&self.run.batch.target).await?;
        }
        let mut rounds = VecDeque::from(self.run.batch.take_rounds());
        if let Some(first) = rounds.pop_front() {
            let mode = self.run.batch.target.statements.first_mode();
            self.run.plan.open(Segment::new(first, mode));
        }
        self.run.later_rounds = Some(rounds);
        Ok(())
    }

    async fn store(&mut self, mut segment: Segment) -> Result<(), Status> {
        self.sort_out_by_window(&mut segment).await;
        if segment.records.is_empty() {
            return Ok(());
        }
        match self.insert(&mut segment).await {
            Ok(new_keys) => self.settle_committed(vec![(segment, new_keys)]).await,
            Err(error) => {
                let target = Arc::clone(&self.run.batch.target);
                let error = self.session.explained(error, &target).await;
                let blame = self.blame(&error).await;
                self.recover(segment, blame, error).await
            }
        }
    }

    /// Takes out what the ledger would not recognise: leaves it, or holds it back while a clock may be the
    /// cause. Checked before every attempt, because an outage may last days.
    async fn sort_out_by_window(&mut self, segment: &mut Segment) {
        let commits = self.commits.get();
        let Some(verdict) = self
            .outside_window(
                &mut segment.failures,
                commits,
                segment.records.iter().map(|one| one.record.sent_ms),
            )
            .await
        else {
            return;
        };
        let mut held = Vec::new();
        for record in
            segment.records.extract_if(.., |record| verdict.of(record.record.sent_ms) != WindowDecision::Take)
        {
            match verdict.of(record.record.sent_ms) {
                WindowDecision::Leave => self.run.batch.leave_outside_window(&record),
                WindowDecision::Hold | WindowDecision::Take => held.push(record),
            }
        }
        if !held.is_empty() {
            let error = Some(DbError::OutsideWindow);
            let (mode, failures) = (segment.mode, segment.failures);
            self.run.plan.hold_apart(Segment { records: held, mode, failures, error });
        }
    }

    /// None when the ledger's window takes all of `sent_ms`. Otherwise the clocks, read again now.
    async fn outside_window(
        &mut self,
        failures: &mut FailureHistory,
        commits: u64,
        sent_ms: impl Iterator<Item = i64>,
    ) -> Option<WindowVerdict> {
        let cached = WindowVerdict {
            database_ms: self.session.database_now_ms(),
            host_ms: host_now_ms(),
            others_stored: false,
        };
        let mut found = None;
        for sent_ms in sent_ms {
            match cached.of(sent_ms) {
                WindowDecision::Take => {}
                WindowDecision::Leave => found = Some(cached),
                WindowDecision::Hold => {
                    let others_stored = failures.others_stored(commits);
                    // An answer that is not there decides nothing.
                    return Some(match self.session.read_clock().await {
                        Ok(database_ms) => {
                            WindowVerdict { database_ms, host_ms: host_now_ms(), others_stored }
                        }
                        Err(_) => cached,
                    });
                }
            }
        }
        found
    }

    /// A commit that came with a warning counts only once a later one has come without.
    async fn insert(&mut self, segment: &mut Segment) -> Result<NewKeys, DbError> {
        let session = self.session.session().await?;
        let batch = &self.run.batch;
        let (target, records) = (&batch.target, segment.as_records());
        let rows = segment.as_rows(&target.statements);
        let span = spans::commit(&target.table, records.len(), batch.spans(segment.records.iter()));
        let begun = Instant::now();
        let insert = insert(session, &target.statements, &records, &rows, segment.mode);
        let (inserted, warned) = watch_warnings(insert.instrument(span.clone())).await;
        spans::committed(&span, &inserted);
        let new_keys = inserted?;
        let stored = new_keys.count(records.len());
        if warned {
            segment.mode = InsertMode::Skipping;
            self.session.confirm().await?;
        }
        metrics::commit(stored, begun.elapsed());
        Ok(new_keys)
    }

    async fn blame(&mut self, error: &DbError) -> Blame {
        let CommitRun { batch, own, .. } = &mut *self.run;
        match self.session.open_session() {
            Some(session) if !error.ends_connection() => own.blame(session, &batch.target, error).await,
            _ => crate::database::blame(error),
        }
    }

    /// Does what the failure of a segment calls for.
    async fn recover(&mut self, segment: Segment, blame: Blame, error: DbError) -> Result<(), Status> {
        if blame == Blame::Ledger {
            metrics::ledger_fallback();
        }
        match self.run.plan.failed(segment, blame, error.clone(), self.commits.get()) {
            Step::GoOn => self.session.drop_if_ended(&error),
            Step::Wait => self.wait_after(&error).await?,
            Step::Search(segment) => self.search(segment).await?,
            Step::Probe(segment) => self.probe(segment).await?,
            Step::Reject(segment, reason) => self.run.batch.reject(&segment.records, reason, &error),
            Step::Leave(segment) => {
                self.session.drop_if_ended(&error);
                self.run.batch.leave_undecided(&segment.records, &error);
            }
        }
        Ok(())
    }

    async fn wait_after(&mut self, error: &DbError) -> Result<(), Status> {
        self.session.wait_after(error, &self.run.batch.target).await
    }

    /// An infrastructure that works is not to blame for the segment's failures.
    async fn probe(&mut self, mut segment: Segment) -> Result<(), Status> {
        if let Some(error) = &segment.error {
            self.session.drop_if_ended(error);
        }
        let probed = match self.session.probe(&self.run.batch.target).await {
            Ok(check) => {
                segment.failures.note_database_works();
                check
            }
            Err(error) => self.wait_after(&error).await,
        };
        self.run.plan.open(segment);
        probed
    }

    /// Settles the records that a search decides on; the segments that it does not decide on are open again.
    async fn search(&mut self, segment: Segment) -> Result<(), Status> {
        let commits = self.commits.get();
        let CommitRun { batch, own, .. } = &mut *self.run;
        let searched = Box::pin(search(self.session, batch, own, segment)).await;
        self.run.plan.open_all(searched.undecided);
        let (mut stored, mut undecided) = (Vec::new(), Vec::new());
        for (segment, result) in searched.decided {
            match result {
                SearchResult::Stored(new_keys) => stored.push((segment, new_keys)),
                SearchResult::ToBlame(reason, error) => {
                    self.run.batch.reject(&segment.records, reason, &error);
                }
                SearchResult::Undecided(error) => undecided.push((segment, error)),
            }
        }
        let settled = self.settle_committed(stored).await;
        for (segment, error) in undecided {
            self.fail_alone(segment, &error, commits);
        }
        settled
    }

    /// A record that failed in a search, before the search's own commit.
    fn fail_alone(&mut self, segment: Segment, error: &DbError, commits: u64) {
        let step = self.run.plan.failed(segment, Blame::Undecided, error.clone(), commits);
        match step {
            Step::Leave(segment) => self.run.batch.leave_undecided(&segment.records, error),
            Step::Search(segment) | Step::Probe(segment) | Step::Reject(segment, _) => {
                self.run.plan.open(segment);
            }
            Step::GoOn | Step::Wait => {}
        }
    }

    /// Settles segments that are committed. Among the keys that were known there may be those of rejected
    /// messages; these are looked up.
    async fn settle_committed(&mut self, committed: Vec<(Segment, NewKeys)>) -> Result<(), Status> {
        let stored: usize = committed.iter().map(|(segment, keys)| keys.count(segment.records.len())).sum();
        if committed.is_empty() {
            return Ok(());
        }
        self.session.note_commit();
        self.commits.add(stored);
        if stored > 0 {
            self.run.plan.committed();
        }
        for (segment, new_keys) in committed {
            let mut found = LedgerEntries::default();
            metrics::rows_superseded(new_keys.superseded());
            if let NewKeys::Only { keys: new, .. } = new_keys {
                let keys = segment.records.iter().map(|record| (record.record.key, record.record.sent_ms));
                found = self.entries(keys, new).await?;
            }
            self.run.batch.settle_committed(&segment.records, &found, self.session.database_now_ms());
        }
        Ok(())
    }

    /// What the ledger had for `keys`, of which `new` were new: looks up whether the others are marked,
    /// however long that takes.
    async fn entries(
        &mut self,
        keys: impl Iterator<Item = SentKey>,
        new: BTreeSet<crate::ledger::Key>,
    ) -> Result<LedgerEntries, Status> {
        let known: Vec<SentKey> = keys.filter(|(key, _)| !new.contains(key)).collect();
        let marked = self.session.marks(&known, &self.run.batch.target).await?;
        Ok(LedgerEntries { new: Some(new), marked })
    }

    /// Claims the keys of the records that have been rejected so far, and answers for them.
    async fn claim(&mut self) -> Result<(), Status> {
        let claims = self.run.batch.take_claims();
        let mut failures = self.run.claim_failures;
        let sent_ms: Vec<_> = claims.iter().map(|claim| claim.claim.sent_ms).collect();
        let outside = self.outside_window(&mut failures, self.commits.get(), sent_ms.into_iter()).await;
        self.run.claim_failures = failures;
        let claims = match outside {
            None => claims,
            Some(verdict) => self.sort_out_claims(claims, verdict),
        };
        if claims.is_empty() {
            return Ok(());
        }
        let mut keys: Vec<_> =
            claims.iter().map(|claim| ((claim.claim.key, claim.claim.sent_ms), claim.claim.reason)).collect();
        keys.dedup_by_key(|(key, _)| *key);
        let new = self.session.claim(&keys, &self.run.batch.target).await?;
        let found = self.entries(keys.into_iter().map(|(key, _)| key), new).await?;
        self.run.batch.settle_claims(claims, &found);
        Ok(())
    }

    /// As with records, and returns the claims that can be made.
    fn sort_out_claims(&mut self, claims: Vec<BatchClaim>, verdict: WindowVerdict) -> Vec<BatchClaim> {
        let mut rest = Vec::new();
        for claim in claims {
            match verdict.of(claim.claim.sent_ms) {
                WindowDecision::Take => rest.push(claim),
                WindowDecision::Hold => self.run.batch.hold_claim(claim),
                WindowDecision::Leave => self.run.batch.settle_outside_window(claim),
            }
        }
        rest
    }
}

/// What the clocks say of sent times.
#[derive(Clone, Copy, Debug)]
struct WindowVerdict {
    database_ms: i64,
    host_ms: i64,
    others_stored: bool,
}

impl WindowVerdict {
    fn of(self, sent_ms: i64) -> WindowDecision {
        decide_by_window(self.database_ms, self.host_ms, sent_ms, self.others_stored)
    }
}
