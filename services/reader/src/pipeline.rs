//! The stages through which a message passes, wired together: pollers, link, receipts, dead letters, deletes; and the
//! heartbeat beside them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use veilpost_runtime::{Identity, Lifecycle, ToMasker, run_link};

use crate::backlog;
use crate::batcher::{Arrival, Intake};
use crate::concurrency::Pace;
use crate::dead_letter::{Casualty, DeadLetters};
use crate::delete::{Deleter, Deletion};
use crate::error::Trouble;
use crate::heartbeat::Heartbeat;
use crate::in_flight::InFlight;
use crate::known_rejects::Acquitted;
use crate::preflight::Queues;
use crate::queue::{MAX_ENTRIES, Queue};
use crate::receive::Pollers;
use crate::release;
use crate::settings::Settings;
use crate::settler::Settler;
use crate::window::Window;

/// Each stage ends when the one before it has: the pollers with the drain, the link when it has sent everything and
/// has the last receipt, the receipts, dead letters and deletes when nothing more comes. A stage that fails drains the
/// service.
pub(crate) struct Stages {
    source: Queue,
    in_flight: Arc<InFlight>,
    acquitted: Arc<Acquitted>,
    lifecycle: Lifecycle,
    work: TaskTracker,
    heartbeat: TaskTracker,
    stop_heartbeat: CancellationToken,
}

impl Stages {
    pub(crate) fn start(
        settings: &Settings,
        Queues { source, dead_letters }: Queues,
        pipeline: String,
        identity: Option<Identity>,
        lifecycle: Lifecycle,
    ) -> Self {
        let this = Self {
            source,
            in_flight: Arc::default(),
            acquitted: Arc::default(),
            lifecycle,
            work: TaskTracker::new(),
            heartbeat: TaskTracker::new(),
            stop_heartbeat: CancellationToken::new(),
        };
        // No sender ever waits: what is in a channel is in the window too.
        let room = settings.window_messages() + settings.pollers().1 * MAX_ENTRIES;
        let (arrivals, arriving) = mpsc::channel(room);
        let (awaited, batches) = mpsc::channel(room);
        let (deletions, to_delete) = mpsc::channel(room);
        this.start_backlog(dead_letters.as_ref().map(|(queue, _)| queue.clone()));
        this.start_pollers(settings, arrivals);
        this.start_link(
            settings,
            identity,
            Intake::new(pipeline, this.source.name().to_owned(), settings.batch_limits(), arriving, awaited),
        );
        let casualties = dead_letters.map(|to| this.start_dead_letters(to, deletions.clone(), room));
        let (in_flight, acquitted) = (Arc::clone(&this.in_flight), Arc::clone(&this.acquitted));
        let settler =
            Settler { in_flight, deletions, casualties, acquitted, lifecycle: this.lifecycle.clone() };
        this.stage("receipts", succeeding(settler.run(batches)));
        this.start_deletes(settings, to_delete);
        this.start_heartbeat(settings);
        this
    }

    /// Waits for the drain to end. What could not be settled by then is given back, and nothing extends it any more. Once
    /// the service aborts this takes three seconds at most, also when SQS does not answer.
    pub(crate) async fn ended(self) {
        self.work.close();
        self.work.wait().await;
        self.stop_heartbeat.cancel();
        self.heartbeat.close();
        self.heartbeat.wait().await;
        release::give_back(&self.source, &self.in_flight, &self.lifecycle).await;
    }

    fn start_pollers(&self, settings: &Settings, arrivals: mpsc::Sender<Vec<Arrival>>) {
        let pollers = Pollers {
            queue: self.source.clone(),
            window: Window::new(settings.window_messages(), settings.window_bytes),
            in_flight: Arc::clone(&self.in_flight),
            trouble: Trouble::new("receive", self.source.url()),
            arrivals,
            wait: settings.wait(),
            visibility: settings.visibility(),
            suspect_after: settings.suspect_after,
            acquitted: Arc::clone(&self.acquitted),
            said_timeless: AtomicBool::new(false),
            lifecycle: self.lifecycle.clone(),
        };
        let (fewest, most) = settings.pollers();
        let pace = Pace::between(fewest, most, Instant::now());
        self.stage("pollers", pollers.run(pace));
    }

    fn start_backlog(&self, dead_letters: Option<Queue>) {
        let watch = backlog::watch(self.source.clone(), dead_letters, self.lifecycle.clone());
        self.stage("backlog", succeeding(watch));
    }

    fn start_link(&self, settings: &Settings, identity: Option<Identity>, intake: Intake) {
        let (settings, lifecycle) = (settings.link.clone(), self.lifecycle.clone());
        let link = async move {
            run_link(ToMasker, intake, &settings, identity, &lifecycle).await?;
            anyhow::ensure!(lifecycle.is_draining(), "the link has ended, though there is no drain");
            Ok(())
        };
        self.lifecycle.spawn("link", self.work.track_future(link));
    }

    fn start_dead_letters(
        &self,
        (queue, limit): (Queue, usize),
        deletions: mpsc::Sender<Vec<Deletion>>,
        room: usize,
    ) -> mpsc::Sender<Vec<Casualty>> {
        let (casualties, arriving) = mpsc::channel(room);
        let trouble = Trouble::new("send to the dead-letter queue", queue.url());
        let (in_flight, acquitted) = (Arc::clone(&self.in_flight), Arc::clone(&self.acquitted));
        let dead_letters = DeadLetters { queue, limit, in_flight, trouble, deletions, acquitted };
        self.stage("dead letters", succeeding(dead_letters.run(arriving, self.lifecycle.clone())));
        casualties
    }

    fn start_deletes(&self, settings: &Settings, to_delete: mpsc::Receiver<Vec<Deletion>>) {
        let deleter = Deleter {
            queue: self.source.clone(),
            in_flight: Arc::clone(&self.in_flight),
            trouble: Trouble::new("delete", self.source.url()),
            most: usize::from(settings.deletes_max),
        };
        self.stage("deletes", succeeding(deleter.run(to_delete, self.lifecycle.clone())));
    }

    fn start_heartbeat(&self, settings: &Settings) {
        let heartbeat = Heartbeat {
            queue: self.source.clone(),
            in_flight: Arc::clone(&self.in_flight),
            trouble: Trouble::new("extend the visibility timeout", self.source.url()),
            visibility: settings.visibility(),
        };
        let beating = succeeding(heartbeat.run(self.stop_heartbeat.clone()));
        self.lifecycle.spawn("heartbeat", self.heartbeat.track_future(beating));
    }

    fn stage(&self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        let lifecycle = self.lifecycle.clone();
        let task = async move {
            tokio::select! {
                ended = task => ended,
                () = release::last_calls_over(&lifecycle) => {
                    tracing::debug!(stage = name, "calls are still under way; stopped");
                    Ok(())
                }
            }
        };
        self.lifecycle.spawn(name, self.work.track_future(task));
    }
}

async fn succeeding(task: impl Future<Output = ()>) -> anyhow::Result<()> {
    task.await;
    Ok(())
}
