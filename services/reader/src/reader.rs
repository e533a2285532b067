//! The reader: wires pollers, link, receipts, deletes, dead letters and heartbeats together.

use std::sync::Arc;

use aws_config::SdkConfig;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use veilpost_runtime::{Lifecycle, ToMasker, run_link};

use crate::client::{self, Clients};
use crate::dead_letter::DeadLetters;
use crate::delete::Deleter;
use crate::drain;
use crate::heartbeat::Heartbeat;
use crate::in_flight::InFlight;
use crate::intake::Intake;
use crate::poll::Poller;
use crate::problem::Trouble;
use crate::queue::Queue;
use crate::receipts::Settler;
use crate::settings::Settings;
use crate::start::Queues;
use crate::window::Window;

#[derive(Debug)]
pub struct Reader {
    settings: Settings,
}

impl Reader {
    pub fn new(settings: Settings) -> anyhow::Result<Self> {
        settings.check()?;
        Ok(Self { settings })
    }

    /// Reads until the drain, with what the environment says about AWS.
    pub async fn run(self, lifecycle: Lifecycle) -> anyhow::Result<()> {
        let aws = tokio::select! {
            () = lifecycle.draining() => return Ok(()),
            aws = client::environment() => aws,
        };
        self.run_with(&aws, lifecycle).await
    }

    /// Reads until the drain. When this returns nothing is in flight any more: everything is settled or given back.
    pub async fn run_with(self, aws: &SdkConfig, lifecycle: Lifecycle) -> anyhow::Result<()> {
        crate::metrics::describe();
        let clients = Clients::new(aws, self.settings.wait())?;
        let Some(queues) = Queues::open(&clients, &self.settings, &lifecycle).await? else { return Ok(()) };
        let pipeline = self.settings.pipeline.clone().unwrap_or_else(|| last_segment(queues.source.url()));
        tracing::info!(queue = queues.source.url(), pipeline, at = clients.place, "reading");
        lifecycle.set_ready(true);
        self.read(queues, pipeline, &lifecycle).await;
        Ok(())
    }

    /// Each stage ends when the one before it has ended: the pollers with the drain, the link when it has sent
    /// everything, the receipts when the link has its last one, dead letters and deletes when nothing more comes.
    async fn read(&self, queues: Queues, pipeline: String, lifecycle: &Lifecycle) {
        let settings = &self.settings;
        let Queues { source, dead_letters } = queues;
        let in_flight = Arc::new(InFlight::default());
        let stages = Stages { work: TaskTracker::new(), lifecycle };
        // No sender ever waits: nothing is in a channel that is not in the window.
        let room = settings.window_messages() + usize::from(settings.pollers) * crate::queue::MAX_ENTRIES;
        let (arrivals, arriving) = mpsc::channel(room);
        let (awaited, batches) = mpsc::channel(room);
        let (deletions, to_delete) = mpsc::channel(room);

        stages.pollers(settings, &source, &in_flight, &arrivals);
        drop(arrivals);
        let intake = Intake::new(pipeline, settings.batch_limits(), arriving, awaited);
        stages.link(settings, intake);
        let casualties = dead_letters.map(|(queue, limit)| {
            let (casualties, arriving) = mpsc::channel(room);
            let trouble = Trouble::new("send to the dead-letter queue", queue.url());
            let (in_flight, deletions) = (Arc::clone(&in_flight), deletions.clone());
            let dead_letters = DeadLetters { queue, limit, in_flight, trouble, deletions };
            stages.run("dead letters", dead_letters.run(arriving, lifecycle.clone()));
            casualties
        });
        let settler = Settler { in_flight: Arc::clone(&in_flight), deletions, casualties };
        stages.run("receipts", settler.run(batches, lifecycle.clone()));
        let deleter = Deleter {
            queue: source.clone(),
            in_flight: Arc::clone(&in_flight),
            trouble: Trouble::new("delete", source.url()),
            slots: usize::from(settings.deletes),
        };
        stages.run("deletes", deleter.run(to_delete, lifecycle.clone()));

        let _stops_with_the_last_stage = self.heartbeat(&source, &in_flight, lifecycle).drop_guard();
        stages.ended().await;
        drain::give_back(&source, &in_flight).await;
    }

    /// The returned token stops it.
    fn heartbeat(
        &self,
        queue: &Queue,
        in_flight: &Arc<InFlight>,
        lifecycle: &Lifecycle,
    ) -> CancellationToken {
        let stop = CancellationToken::new();
        let heartbeat = Heartbeat {
            queue: queue.clone(),
            in_flight: Arc::clone(in_flight),
            trouble: Trouble::new("extend the visibility timeout", queue.url()),
            visibility: self.settings.visibility(),
        };
        let beating = heartbeat.run(stop.clone());
        lifecycle.spawn("heartbeat", async {
            beating.await;
            Ok(())
        });
        stop
    }
}

/// The tasks through which a message passes. Any that fails drains the service.
struct Stages<'a> {
    work: TaskTracker,
    lifecycle: &'a Lifecycle,
}

impl Stages<'_> {
    fn run(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.try_run(name, async {
            task.await;
            Ok(())
        });
    }

    fn try_run(&self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.lifecycle.spawn(name, self.work.track_future(task));
    }

    fn pollers(
        &self,
        settings: &Settings,
        queue: &Queue,
        in_flight: &Arc<InFlight>,
        arrivals: &mpsc::Sender<Vec<crate::intake::Arrival>>,
    ) {
        let poller = Poller {
            queue: queue.clone(),
            window: Window::new(settings.window_messages(), settings.window_bytes),
            in_flight: Arc::clone(in_flight),
            trouble: Arc::new(Trouble::new("receive", queue.url())),
            arrivals: arrivals.clone(),
            wait: settings.wait(),
            visibility: settings.visibility(),
            suspect_after: settings.suspect_after,
        };
        metrics::gauge!("veilpost_reader_pollers").set(f64::from(settings.pollers));
        for _ in 0..settings.pollers {
            self.run("poller", poller.clone().run(self.lifecycle.clone()));
        }
    }

    fn link(&self, settings: &Settings, intake: Intake) {
        let (settings, lifecycle) = (settings.link.clone(), self.lifecycle.clone());
        self.try_run("link", async move { run_link(ToMasker, intake, &settings, &lifecycle).await });
    }

    async fn ended(self) {
        self.work.close();
        self.work.wait().await;
    }
}

/// A queue's name is the last part of its URL.
fn last_segment(url: &str) -> String {
    url.trim_end_matches('/').rsplit('/').next().unwrap_or(url).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pipeline_is_named_after_the_queue() {
        assert_eq!(last_segment("https://sqs.eu-west-1.amazonaws.com/123456789012/logins"), "logins");
        assert_eq!(last_segment("http://localhost:4566/000000000000/logins/"), "logins");
    }
}
