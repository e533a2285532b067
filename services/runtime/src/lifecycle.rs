//! A service's life: tasks that are waited for, drain in two phases, readiness.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A handle on the service's life; clones share it.
///
/// Draining: take nothing new, finish what is in flight. Aborting: the grace period is nearly over, give back what is
/// left and end.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    drain: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
    failed: Arc<AtomicBool>,
    ready: watch::Sender<bool>,
}

impl Lifecycle {
    pub(crate) fn new() -> Self {
        Self {
            drain: CancellationToken::new(),
            abort: CancellationToken::new(),
            tasks: TaskTracker::new(),
            failed: Arc::default(),
            ready: watch::Sender::new(false),
        }
    }

    /// A life that no signal ends.
    pub fn for_tests() -> Self {
        Self::new()
    }

    /// Resolves when nothing new may be taken.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Resolves when what is left must be given back at once.
    pub async fn aborting(&self) {
        self.abort.cancelled().await;
    }

    pub fn is_aborting(&self) -> bool {
        self.abort.is_cancelled()
    }

    /// Begins the drain; a service that drains is no longer ready.
    pub fn start_drain(&self) {
        self.ready.send_replace(false);
        self.drain.cancel();
    }

    /// Ends the drain's patience; begins the drain where it has not begun.
    pub fn start_abort(&self) {
        self.start_drain();
        self.abort.cancel();
    }

    /// Runs `task` in the set that is waited for before the process ends.
    ///
    /// A task that fails or panics is logged here, drains the service, and makes its exit status 1.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        let life = self.clone();
        self.tasks.spawn(async move {
            match AssertUnwindSafe(task).catch_unwind().await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => life.fail(name, &format!("{error:#}")),
                Err(_) => life.fail(name, "panicked"),
            }
        });
    }

    fn fail(&self, task: &'static str, error: &str) {
        tracing::error!(task, error, "a task failed; draining");
        self.failed.store(true, Ordering::Relaxed);
        self.start_drain();
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Waits until every spawned task has ended.
    pub async fn tasks_ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Says whether the service is started and serving; a drain overrules it.
    pub fn set_ready(&self, ready: bool) {
        let ready = ready && !self.is_draining();
        let was_ready = self.ready.send_replace(ready);
        if ready && !was_ready {
            tracing::info!("ready");
        }
    }

    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    pub(crate) fn watch_ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failed_task_drains_the_service_and_is_remembered() {
        let life = Lifecycle::for_tests();
        life.set_ready(true);
        life.spawn("bad", async { anyhow::bail!("broken") });
        life.draining().await;
        life.tasks_ended().await;
        assert!(life.has_failed());
        assert!(!life.is_ready());
    }

    #[tokio::test]
    async fn a_panic_counts_as_a_failure() {
        let life = Lifecycle::for_tests();
        life.spawn("bad", async { panic!("broken") });
        life.tasks_ended().await;
        assert!(life.has_failed());
    }

    #[tokio::test]
    async fn a_draining_service_cannot_become_ready() {
        let life = Lifecycle::for_tests();
        life.start_drain();
        life.set_ready(true);
        assert!(!life.is_ready());
        assert!(!life.is_aborting());
    }
}
