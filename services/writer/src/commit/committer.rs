//! A committer: owns one connection, stores one load after the other, and stays with a load until all of it is settled.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tonic::Status;
use tracing::Instrument;
use veilpost_proto::v1::Reason;
use veilpost_runtime::{Backoff, Lifecycle};

use super::Job;
use super::load::{Entry, Load};
use super::piece::{Piece, Step};
use super::recover::owner_for;
use crate::database::{DbError, Owner, Session};
use crate::ledger::accepts;
use crate::metrics::{self, Cause};
use crate::record::Fate;
use crate::shared::Shared;
use crate::spans;
use crate::statement::{self, Form, Fresh};

#[derive(Debug)]
pub(crate) struct Committer {
    pub(super) shared: Arc<Shared>,
    pub(super) session: Option<Session>,
    pub(super) backoff: Backoff,
    /// The last failure that was logged since the last success.
    pub(super) complaint: Option<String>,
}

impl Committer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        Self { shared, session: None, backoff, complaint: None }
    }

    /// Runs until the queue is closed and empty, or until what is left must be given back. A statement that is under way
    /// then may or may not commit: the ledger knows when its records come again.
    pub(crate) async fn run(mut self, life: Lifecycle) -> anyhow::Result<()> {
        tokio::select! {
            () = life.aborting() => {}
            () = self.work() => {}
        }
        if let Some(session) = self.session.take() {
            session.close().await;
        }
        Ok(())
    }

    async fn work(&mut self) {
        let shared = Arc::clone(&self.shared);
        while let Some(jobs) = shared.queue.take(shared.limits).await {
            self.commit(jobs).await;
        }
    }

    async fn commit(&mut self, jobs: Vec<Job>) {
        let Some(mut load) = Load::new(jobs) else { return };
        match AssertUnwindSafe(self.store(&mut load)).catch_unwind().await {
            Ok(Ok(())) => load.reply(),
            Ok(Err(status)) => load.refuse(&status),
            Err(_) => self.give_up(load),
        }
    }

    /// After a panic: its cause may be a record of this load, so the senders are told a status that makes them suspect
    /// it. The session may be in the middle of anything.
    fn give_up(&mut self, load: Load) {
        tracing::error!("storing panicked; the streams end and the writer goes on");
        self.session = None;
        load.refuse(&Status::internal("the writer failed on these batches"));
    }

    /// Settles every record. Err ends the streams: their idea of the table is not the catalogue's.
    async fn store(&mut self, load: &mut Load) -> Result<(), Status> {
        self.judge_unsure(load).await?;
        if load.has_rejections() {
            self.confirm_definition(&load.target).await?;
        }
        let mut form = Form::Plain;
        for round in load.take_rounds() {
            self.store_round(load, Piece::new(round, form)).await?;
            form = Form::Skipping;
        }
        Ok(())
    }

    async fn store_round(&mut self, load: &mut Load, round: Piece) -> Result<(), Status> {
        let mut pieces = VecDeque::from([round]);
        while let Some(mut piece) = pieces.pop_front() {
            self.leave_outside_window(load, &mut piece);
            if piece.entries.is_empty() {
                continue;
            }
            match self.insert(load, &piece).await {
                Ok(fresh) => self.settle_stored(load, &piece, &fresh),
                Err(error) => self.handle(error, piece, &mut pieces, load).await?,
            }
        }
        Ok(())
    }

    /// Checked before every attempt: an outage may last days.
    fn leave_outside_window(&self, load: &mut Load, piece: &mut Piece) {
        let now = self.shared.database.clock.now_ms();
        let outside = piece.entries.extract_if(.., |entry| !accepts(now, entry.record.sent_ms));
        for entry in outside {
            let record = &entry.record;
            tracing::warn!(
                message_id = record.message_id(),
                sent_timestamp_ms = record.sent_ms,
                "sent outside the ledger's window, so it cannot be told whether it was stored before; left in the queue"
            );
            metrics::left(Cause::OutsideWindow);
            load.settle(&entry, Fate::Left);
        }
    }

    async fn insert(&mut self, load: &Load, piece: &Piece) -> Result<Fresh, DbError> {
        let session = self.session().await?;
        let records: Vec<_> = piece.entries.iter().map(|entry| &entry.record).collect();
        let span = spans::commit(&load.target.table, records.len(), load.spans(piece.entries.iter()));
        let begun = Instant::now();
        let insert = statement::insert(session, &load.target.statements, &records, piece.form);
        let inserted = insert.instrument(span.clone()).await;
        spans::committed(&span, &inserted);
        let fresh = inserted?;
        let stored = match &fresh {
            Fresh::All => records.len(),
            Fresh::Only(keys) => keys.len(),
        };
        metrics::commit(stored, begun.elapsed());
        Ok(fresh)
    }

    pub(super) fn settle_stored(&mut self, load: &mut Load, piece: &Piece, fresh: &Fresh) {
        self.shared.count_commit();
        self.note_success();
        let now = self.shared.database.clock.now_ms();
        let end_to_end = metrics::end_to_end();
        for entry in &piece.entries {
            let stored = fresh.contains(&entry.record.key);
            if stored {
                let took = u64::try_from(now - entry.record.sent_ms).unwrap_or(0);
                end_to_end.record(Duration::from_millis(took));
            }
            load.settle(entry, if stored { Fate::Stored } else { Fate::Duplicate });
        }
    }

    /// Does what the error's owner asks for; what is still to be stored goes back to the pieces.
    async fn handle(
        &mut self,
        error: DbError,
        mut piece: Piece,
        pieces: &mut VecDeque<Piece>,
        load: &mut Load,
    ) -> Result<(), Status> {
        let owner = piece.weigh(owner_for(&error, &load.target));
        piece.note_failure(owner, self.shared.commits());
        if owner == Owner::Ledger {
            metrics::ledger_fallback();
        }
        match piece.step(owner, self.shared.commits()) {
            Step::Skip => {
                piece.form = Form::Skipping;
                pieces.push_front(piece);
            }
            Step::Search => self.search(load, piece, pieces).await,
            Step::Halve => halve(piece, pieces),
            Step::WaitAndHalve => {
                self.recover(&error, &load.target).await?;
                halve(piece, pieces);
            }
            Step::Reject(reason) => reject(load, &piece.entries, reason, &error),
            Step::Leave => leave(load, &piece.entries, &error),
            Step::Probe => match self.try_probe(&load.target).await {
                Ok(verdict) => {
                    verdict?;
                    self.backoff.reset();
                    piece.note_database_works();
                    pieces.push_back(piece);
                }
                Err(error) => {
                    self.recover(&error, &load.target).await?;
                    pieces.push_back(piece);
                }
            },
            Step::Retry => {
                self.recover(&error, &load.target).await?;
                pieces.push_front(piece);
            }
            Step::RetryLast => {
                self.recover(&error, &load.target).await?;
                pieces.push_back(piece);
            }
        }
        Ok(())
    }
}

fn halve(piece: Piece, pieces: &mut VecDeque<Piece>) {
    let [first, second] = piece.halves();
    pieces.push_front(second);
    pieces.push_front(first);
}

pub(super) fn reject(load: &mut Load, entries: &[Entry], reason: Reason, error: &DbError) {
    let detail = match error {
        DbError::Server(error) => error.detail(),
        other => other.to_string(),
    };
    for entry in entries {
        load.settle(entry, Fate::Rejected(reason, detail.clone()));
    }
}

fn leave(load: &mut Load, entries: &[Entry], error: &DbError) {
    for entry in entries {
        tracing::warn!(
            message_id = entry.record.message_id(),
            error = error.to_string(),
            "this record alone cannot be stored, and it is not sure why; left in the queue"
        );
        metrics::left(Cause::Undecided);
        load.settle(entry, Fate::Left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{Catalogue, TableName};
    use crate::commit::Limits;
    use crate::commit::load::tests::job;
    use crate::database::Database;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tonic::Code;
    use tracing::span;

    /// Panics at the first event: a stand-in for a defect in the middle of a load.
    #[derive(Default)]
    struct Defect(AtomicBool);

    impl tracing::Subscriber for Defect {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, _: &tracing::Event<'_>) {
            assert!(self.0.swap(true, Ordering::Relaxed), "a defect");
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    #[tokio::test]
    async fn a_panic_ends_the_streams_of_its_load_and_the_committer_goes_on() {
        let database = Database::new(&"postgres://u@127.0.0.1:1/d".into(), Duration::from_secs(1)).unwrap();
        let limits = Limits { records: 10, bytes: 10 };
        let shared = Shared::new(database, Catalogue::new(TableName::parse("logins")), limits, 10);
        let mut committer = Committer::new(Arc::new(shared));
        let _defect = tracing::subscriber::set_default(Defect::default());
        // Outside the ledger's window, they are left with a warning and need no database.
        let (first, ended) = job(&[1]);
        committer.commit(vec![first]).await;
        assert_eq!(ended.await.unwrap().unwrap_err().code(), Code::Internal);
        let (second, receipt) = job(&[2]);
        committer.commit(vec![second]).await;
        assert_eq!(receipt.await.unwrap().unwrap().outcomes, [0]);
    }
}
