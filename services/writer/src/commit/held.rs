//! Runs that are held back: what they hold fails, and so does everything else. They are tried again and again
//! until it is mended or rows of others show that it is only theirs.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Status;
use veilpost_runtime::telemetry::OutageLog;
use veilpost_runtime::{Backoff, numbers};

use super::commit_run::CommitRun;
use crate::database::DbError;
use crate::metrics::HeldCount;

const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// A run that waits for its next turn.
#[derive(Debug)]
pub(super) struct HeldRun {
    pub(super) run: CommitRun,
    pub(super) backoff: Backoff,
    due: Instant,
    /// Shows what it holds for as long as it does.
    _counts: Vec<HeldCount>,
}

/// The held runs of one committer, within a bound of bytes.
#[derive(Debug)]
pub(super) struct HeldRuns {
    runs: Vec<HeldRun>,
    max_bytes: usize,
    outage: OutageLog,
}

impl HeldRuns {
    /// `max_bytes` bounds the encoded size of all batches in held runs; a single run may be larger.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { runs: Vec::new(), max_bytes, outage: OutageLog::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Holds a run until its next turn. Where there is no room for it, its streams end instead: their senders
    /// keep the batches and send them again.
    pub(super) fn hold(&mut self, mut run: CommitRun, backoff: Option<Backoff>) {
        run.drop_abandoned();
        if !run.holds() {
            return run.batch.refuse(&Status::unavailable("nobody waits for the receipt any more"));
        }
        self.note(&run);
        self.runs.iter_mut().for_each(|held| held.run.drop_abandoned());
        self.runs.retain(|held| held.run.holds());
        let bytes: usize = self.runs.iter().map(|held| held.run.batch.unanswered_bytes()).sum();
        if !self.runs.is_empty() && bytes + run.batch.unanswered_bytes() > self.max_bytes {
            return run.batch.refuse(&Status::unavailable("too much is held back that cannot be stored yet"));
        }
        let mut backoff = backoff.unwrap_or_else(|| Backoff::new(FIRST_DELAY, LONGEST_DELAY));
        let due = Instant::now() + backoff.next_delay();
        let counts = counts(&run);
        self.runs.push(HeldRun { run, backoff, due, _counts: counts });
    }

    /// One line for each kind of failure, with one of the messages.
    fn note(&self, run: &CommitRun) {
        let claims = run.batch.held_claims();
        if let Some(claim) = run.batch.held_claims().next()
            && self.outage.note_failure(DbError::OutsideWindow)
        {
            let (message_id, records) = (&claim.message_id, numbers::to_u64(claims.count()));
            tracing::warn!(
                error = DbError::OutsideWindow.to_string(),
                message_id,
                records,
                "cannot reject, since the ledger cannot tell whether it is stored; holding"
            );
        }
        for segment in run.plan.held() {
            let (Some(error), Some(record)) = (&segment.error, segment.records.first()) else { continue };
            if self.outage.note_failure(error) {
                tracing::warn!(
                    error = error.to_string(),
                    message_id = record.record.message_id(),
                    records = numbers::to_u64(run.plan.held().map(|held| held.records.len()).sum::<usize>()),
                    "cannot store, and nobody is to blame for sure while nothing else is stored; holding"
                );
            }
        }
    }

    /// Waits until a run is due. Cancel safe.
    pub(super) async fn due(&self) {
        match self.runs.iter().map(|held| held.due).min() {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Takes out the run that is due first.
    pub(super) fn take_due(&mut self) -> Option<HeldRun> {
        let first = (0..self.runs.len()).min_by_key(|index| self.runs.get(*index).map(|held| held.due))?;
        Some(self.runs.swap_remove(first))
    }

    /// Notes that a held run has been settled.
    pub(super) fn note_settled(&self) {
        if self.runs.is_empty() && self.outage.note_success() {
            tracing::info!("nothing is held back any more");
        }
    }

    /// Ends the streams of everything that is held.
    pub(super) fn refuse_all(&mut self, status: &Status) {
        self.runs.drain(..).for_each(|held| held.run.batch.refuse(status));
    }
}

/// How many records are held for each class of errors.
fn counts(run: &CommitRun) -> Vec<HeldCount> {
    let label = |error: &Option<DbError>| error.as_ref().map_or("other", |error| error.label());
    let segments = run.plan.held().map(|segment| (label(&segment.error), segment.records.len()));
    let claims = (DbError::OutsideWindow.label(), run.batch.held_claims().count());
    segments.chain(std::iter::once(claims)).map(|(class, records)| HeldCount::new(class, records)).collect()
}
