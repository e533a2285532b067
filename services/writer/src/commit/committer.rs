//! A committer: owns one connection and stores one commit batch after the other.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use tonic::Status;
use veilpost_runtime::{Backoff, Lifecycle};

use super::commit_batch::CommitBatch;
use super::commit_run::{CommitRun, Turn, TurnEnd};
use super::held::HeldRuns;
use super::retrying_session::RetryingSession;
use super::{BatchQueue, CommitCount, CommitLimits, PendingBatch};
use crate::catalogue::Catalogue;
use crate::database::Database;

#[derive(Debug)]
pub(crate) struct Committer {
    queue: Arc<BatchQueue>,
    limits: CommitLimits,
    session: RetryingSession,
    commits: Arc<CommitCount>,
    held: HeldRuns,
}

impl Committer {
    /// All committers of the service share `queue` and `commits`. `held_bytes` bounds the encoded size of the
    /// batches that this one holds back.
    pub(crate) fn new(
        database: Arc<Database>,
        catalogue: Arc<Catalogue>,
        queue: Arc<BatchQueue>,
        limits: CommitLimits,
        held_bytes: usize,
        commits: Arc<CommitCount>,
    ) -> Self {
        let (session, held) = (RetryingSession::new(database, catalogue), HeldRuns::new(held_bytes));
        Self { queue, limits, session, commits, held }
    }

    /// Runs until the queue is closed and empty, or until an abort. A statement that is running during an
    /// abort may or may not commit; the ledger recognises its records when they come again.
    pub(crate) async fn run(mut self, life: Lifecycle) -> anyhow::Result<()> {
        tokio::select! {
            () = life.aborting() => {}
            () = self.work(&life) => {}
        }
        self.session.close().await;
        Ok(())
    }

    /// New batches and held runs take turns. A drain gives back what is held: another writer may store it.
    async fn work(&mut self, life: &Lifecycle) {
        loop {
            tokio::select! {
                batches = self.queue.take(self.limits) => match batches {
                    Some(batches) => self.commit(batches).await,
                    None => break,
                },
                () = self.held.due() => self.try_held().await,
                () = life.draining(), if !self.held.is_empty() => {}
            }
            if life.is_draining() {
                self.held.refuse_all(&Status::unavailable("draining"));
            }
        }
    }

    async fn commit(&mut self, batches: Vec<PendingBatch>) {
        if let Some(batch) = CommitBatch::new(batches) {
            self.turn(CommitRun::new(batch), None).await;
        }
    }

    async fn try_held(&mut self) {
        if let Some(held) = self.held.take_due() {
            self.turn(held.run, Some(held.backoff)).await;
            self.held.note_settled();
        }
    }

    async fn turn(&mut self, mut run: CommitRun, backoff: Option<Backoff>) {
        run.drop_abandoned();
        let turn = Turn { run: &mut run, session: &mut self.session, commits: &self.commits }.take();
        match AssertUnwindSafe(turn).catch_unwind().await {
            Ok(Ok(TurnEnd::Done)) => {}
            Ok(Ok(TurnEnd::Held)) => self.held.hold(run, backoff),
            Ok(Err(status)) => run.batch.refuse(&status),
            Err(_) => self.give_up(run),
        }
    }

    /// After a panic: a record of this batch may be its cause, so the senders get a status that makes them
    /// suspect the batch. The connection may be in the middle of anything.
    fn give_up(&mut self, run: CommitRun) {
        tracing::error!("storing panicked; the streams end and the writer goes on");
        self.session.discard();
        run.batch.refuse(&Status::internal("the writer failed on these batches"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::pending_batch::fixtures::pending_with_ids;
    use super::*;
    use crate::catalogue::TableName;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;
    use tonic::Code;
    use tracing::span;

    /// Panics at the first event, as a defect in the middle of a commit would.
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
    async fn a_panic_ends_the_streams_of_its_batches_and_the_committer_goes_on() {
        let database = Database::new(&"postgres://u@127.0.0.1:1/d".into(), Duration::from_secs(1)).unwrap();
        let mut committer = Committer::new(
            Arc::new(database),
            Arc::new(Catalogue::new(TableName::parse("logins"))),
            Arc::new(BatchQueue::new(10)),
            CommitLimits { rows: 10, bytes: 10 },
            10,
            Arc::default(),
        );
        let _defect = tracing::subscriber::set_default(Defect::default());
        // Records outside the ledger's window are left with a warning and need no database.
        let (first, ended) = pending_with_ids(&[1]);
        committer.commit(vec![first]).await;
        assert_eq!(ended.await.unwrap().unwrap_err().code(), Code::Internal);
        let (second, receipt) = pending_with_ids(&[2]);
        committer.commit(vec![second]).await;
        assert_eq!(receipt.await.unwrap().unwrap().outcomes, [0]);
    }
}
