//! The life of a service: its tasks, its drain in two phases, and its readiness.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A handle on the life of a service; clones share it.
///
/// Draining: take nothing new, finish what is in flight. Aborting: the grace period is nearly over, give back
/// what is left and end. A drain never ends before the process does, and an abort always follows a drain.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// use veilpost_runtime::Lifecycle;
///
/// let life = Lifecycle::for_tests();
/// let own = life.clone();
/// life.spawn("worker", async move {
///     own.draining().await;
///     Ok(())
/// });
/// life.set_ready(true);
/// life.start_drain();
/// life.tasks_ended().await;
/// assert!(!life.is_ready());
/// # });
/// ```
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

    /// The life of a service that no signal ends.
    pub fn for_tests() -> Self {
        Self::new()
    }

    /// Resolves when the drain begins: from then on nothing new may be taken. Cancel safe.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Whether the drain has begun.
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Resolves when what is left must be given back at once. Cancel safe.
    pub async fn aborting(&self) {
        self.abort.cancelled().await;
    }

    /// Whether the abort has begun.
    pub fn is_aborting(&self) -> bool {
        self.abort.is_cancelled()
    }

    /// Begins the drain; a draining service is no longer ready. Further calls change nothing.
    pub fn start_drain(&self) {
        self.ready.send_replace(false);
        self.drain.cancel();
    }

    /// Begins the abort, and the drain if it has not begun.
    pub fn start_abort(&self) {
        self.start_drain();
        self.abort.cancel();
    }

    /// Runs `task` in the set that the process waits for before it ends.
    ///
    /// A task that fails or panics is logged here as `name`, drains the service, and makes the exit status 1.
    /// The message of a panic is not logged: it may quote a record.
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

    /// Waits until every spawned task has ended, including tasks that are spawned meanwhile. Cancel safe.
    pub async fn tasks_ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Sets whether the service is ready for traffic, as `/readyz` and grpc.health.v1 show it. Has no effect
    /// in a drain.
    pub fn set_ready(&self, ready: bool) {
        let ready = ready && !self.is_draining();
        let was_ready = self.ready.send_replace(ready);
        if ready && !was_ready {
            tracing::info!("ready");
        }
    }

    /// Whether the service is ready for traffic.
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
