//! A committer: owns one connection and stores one commit batch after the other.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use tonic::Status;
use veilpost_runtime::Lifecycle;

use super::commit_batch::CommitBatch;
use super::commit_run::CommitRun;
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
}

impl Committer {
    /// All committers of the service share `queue` and `commits`.
    pub(crate) fn new(
        database: Arc<Database>,
        catalogue: Arc<Catalogue>,
        queue: Arc<BatchQueue>,
        limits: CommitLimits,
        commits: Arc<CommitCount>,
    ) -> Self {
        Self { queue, limits, session: RetryingSession::new(database, catalogue), commits }
    }

    /// Runs until the queue is closed and empty, or until an abort. A statement that is running during an
    /// abort may or may not commit; the ledger recognises its records when they come again.
    pub(crate) async fn run(mut self, life: Lifecycle) -> anyhow::Result<()> {
        tokio::select! {
            () = life.aborting() => {}
            () = self.work() => {}
        }
        self.session.close().await;
        Ok(())
    }

    async fn work(&mut self) {
        while let Some(batches) = self.queue.take(self.limits).await {
            self.commit(batches).await;
        }
    }

    async fn commit(&mut self, batches: Vec<PendingBatch>) {
        let Some(mut batch) = CommitBatch::new(batches) else { return };
        let run = CommitRun::new(&mut self.session, &self.commits, &mut batch).store();
        match AssertUnwindSafe(run).catch_unwind().await {
            Ok(Ok(())) => batch.reply(),
            Ok(Err(status)) => batch.refuse(&status),
            Err(_) => self.give_up(batch),
        }
    }

    /// After a panic: a record of this batch may be its cause, so the senders get a status that makes them
    /// suspect the batch. The connection may be in the middle of anything.
    fn give_up(&mut self, batch: CommitBatch) {
        tracing::error!("storing panicked; the streams end and the writer goes on");
        self.session.discard();
        batch.refuse(&Status::internal("the writer failed on these batches"));
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
            CommitLimits { records: 10, bytes: 10 },
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
