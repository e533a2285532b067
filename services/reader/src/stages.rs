//! The stages that a message passes through: receive, link, settle, dead-letter, delete; and the heartbeat
//! meanwhile.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use veilpost_proto::v1::RawRecord;
use veilpost_reader_core::{
    AdaptiveConcurrency, Arrival, Batcher, CompletedDelivery, DeliveryNumber, KnownRejects, LastReceives,
    LeftDelivery, PendingReceipt, RejectedDelivery, Settler, Undecided, Window, WindowLimits,
    last_calls_over,
};
use veilpost_runtime::{Identity, Lifecycle, ToMasker, run_link};

use crate::backlog;
use crate::dead_letter_sender::DeadLetterSender;
use crate::delete::Deleter;
use crate::heartbeat::Heartbeat;
use crate::leave::Leaver;
use crate::limits::{MAX_ENTRIES, MAX_MESSAGE_BYTES};
use crate::max_receives::MaxReceives;
use crate::message::{self, SqsDelivery, SqsInFlight, SqsMessage};
use crate::outage::CallOutage;
use crate::preflight::{DeadLetterQueue, Queues};
use crate::queue::Queue;
use crate::receive::Pollers;
use crate::receive_gate::{GateKeeper, ReceiveGate, receive_gate};
use crate::release::release;
use crate::settings::Settings;

/// The running stages.
///
/// Each stage ends when the one before it has: the pollers with the drain, the link when it has sent
/// everything and has the last receipt, the others when nothing more comes. A stage that fails drains the
/// service.
pub(crate) struct Stages {
    source: Queue,
    max_receives: MaxReceives,
    in_flight: Arc<SqsInFlight>,
    known_rejects: Arc<KnownRejects>,
    lifecycle: Lifecycle,
    running: TaskTracker,
    heartbeat: TaskTracker,
    stop_heartbeat: CancellationToken,
    /// The room of every channel between stages. No sender ever waits, because what is in a channel is in the
    /// window too.
    channel_room: usize,
}

impl Stages {
    pub(crate) fn start(
        settings: &Settings,
        Queues { source, dead_letters, max_receives }: Queues,
        pipeline: String,
        identity: Option<Identity>,
        lifecycle: Lifecycle,
    ) -> Self {
        let this = Self {
            source,
            max_receives,
            in_flight: Arc::default(),
            known_rejects: Arc::default(),
            lifecycle,
            running: TaskTracker::new(),
            heartbeat: TaskTracker::new(),
            stop_heartbeat: CancellationToken::new(),
            channel_room: settings.window_messages() + settings.pollers().1 * MAX_ENTRIES,
        };
        let (arrivals, arriving) = mpsc::channel(this.channel_room);
        let (pending, receipts) = mpsc::channel(this.channel_room);
        let (completed, to_delete) = mpsc::channel(this.channel_room);
        this.start_backlog(dead_letters.as_ref().map(|dead_letters| dead_letters.queue.clone()));
        let (keeper, gate) = receive_gate(this.source.url());
        let last_receives = Arc::new(LastReceives::new(&arrivals, undecided(this.max_receives.clone())));
        this.start_pollers(settings, gate, arrivals);
        let source = this.source.destination().clone();
        let batcher = Batcher::new(pipeline, source, settings.batch_limits(), arriving, pending);
        let batcher = batcher.with_refresh(refresh(Arc::clone(&this.in_flight), this.max_receives.clone()));
        this.start_link(settings, identity, batcher);
        let left = this.start_leaver(settings, Arc::clone(&last_receives));
        let rejected =
            dead_letters.map(|queue| this.start_dead_letters(queue, completed.clone(), left.clone()));
        this.start_settler(completed, rejected, left, last_receives, receipts);
        this.start_deletes(settings, to_delete);
        this.start_heartbeat(settings, keeper);
        this
    }

    /// Waits for the drain to end. What could not be settled by then is released, and nothing extends it any
    /// more. Once the service aborts this takes three seconds at most, also when SQS does not answer.
    pub(crate) async fn ended(self) {
        self.running.close();
        self.running.wait().await;
        self.stop_heartbeat.cancel();
        self.heartbeat.close();
        self.heartbeat.wait().await;
        release(&self.source, &self.in_flight, &self.lifecycle).await;
    }

    fn start_pollers(&self, settings: &Settings, gate: ReceiveGate, arrivals: mpsc::Sender<Vec<Arrival>>) {
        let window = WindowLimits {
            messages: settings.window_messages(),
            bytes: settings.window_bytes,
            messages_per_receive: MAX_ENTRIES,
            largest_message_bytes: MAX_MESSAGE_BYTES,
        };
        let pollers = Pollers {
            queue: self.source.clone(),
            window: Window::new(window),
            gate,
            in_flight: Arc::clone(&self.in_flight),
            outage: CallOutage::of(&self.source, "receive"),
            arrivals,
            wait: settings.wait(),
            visibility: settings.visibility(),
            suspect_after: settings.suspect_after,
            known_rejects: Arc::clone(&self.known_rejects),
            no_sent_time_logged: AtomicBool::new(false),
            lifecycle: self.lifecycle.clone(),
        };
        let (min, max) = settings.pollers();
        let concurrency = AdaptiveConcurrency::between(min, max, Instant::now());
        self.start_stage("pollers", pollers.run(concurrency));
    }

    fn start_backlog(&self, dead_letters: Option<Queue>) {
        let watch = backlog::watch(
            self.source.clone(),
            dead_letters,
            self.max_receives.clone(),
            self.lifecycle.clone(),
        );
        self.start_stage("backlog", succeeding(watch));
    }

    fn start_link(&self, settings: &Settings, identity: Option<Identity>, batcher: Batcher) {
        let (settings, lifecycle) = (settings.link.clone(), self.lifecycle.clone());
        let link = async move {
            run_link(ToMasker, batcher, &settings, identity, &lifecycle).await?;
            anyhow::ensure!(lifecycle.is_draining(), "the link has ended, though there is no drain");
            Ok(())
        };
        self.lifecycle.spawn("link", self.running.track_future(link));
    }

    fn start_settler(
        &self,
        completed: mpsc::Sender<Vec<CompletedDelivery>>,
        rejected: Option<mpsc::Sender<Vec<RejectedDelivery>>>,
        left: mpsc::Sender<Vec<LeftDelivery>>,
        last_receives: Arc<LastReceives<SqsMessage>>,
        receipts: mpsc::Receiver<PendingReceipt>,
    ) {
        let settler = Settler {
            in_flight: Arc::clone(&self.in_flight),
            completed,
            rejected,
            left: Some(left),
            known_rejects: Arc::clone(&self.known_rejects),
            last_receives: Some(last_receives),
            lifecycle: self.lifecycle.clone(),
        };
        self.start_stage("receipts", succeeding(settler.run(receipts)));
    }

    fn start_leaver(
        &self,
        settings: &Settings,
        last_receives: Arc<LastReceives<SqsMessage>>,
    ) -> mpsc::Sender<Vec<LeftDelivery>> {
        let (left, arriving) = mpsc::channel(self.channel_room);
        let leaver = Leaver {
            queue: self.source.clone(),
            in_flight: Arc::clone(&self.in_flight),
            outage: CallOutage::of(&self.source, "leave messages for a time"),
            visibility: settings.visibility(),
            max_receives: self.max_receives.clone(),
            last_receives,
        };
        self.start_stage("leave", succeeding(leaver.run(arriving, self.lifecycle.clone())));
        left
    }

    fn start_dead_letters(
        &self,
        DeadLetterQueue { queue, max_message_bytes }: DeadLetterQueue,
        completed: mpsc::Sender<Vec<CompletedDelivery>>,
        left: mpsc::Sender<Vec<LeftDelivery>>,
    ) -> mpsc::Sender<Vec<RejectedDelivery>> {
        let (rejected, arriving) = mpsc::channel(self.channel_room);
        let outage = CallOutage::of(&queue, "send to the dead-letter queue");
        let (in_flight, known_rejects) = (Arc::clone(&self.in_flight), Arc::clone(&self.known_rejects));
        let max_receives = self.max_receives.clone();
        let sender = DeadLetterSender {
            queue,
            max_message_bytes,
            in_flight,
            outage,
            completed,
            left,
            known_rejects,
            max_receives,
        };
        self.start_stage("dead letters", succeeding(sender.run(arriving, self.lifecycle.clone())));
        rejected
    }

    fn start_deletes(&self, settings: &Settings, to_delete: mpsc::Receiver<Vec<CompletedDelivery>>) {
        let deleter = Deleter {
            queue: self.source.clone(),
            in_flight: Arc::clone(&self.in_flight),
            outage: CallOutage::of(&self.source, "delete"),
            max_calls: usize::from(settings.deletes_max),
        };
        self.start_stage("deletes", succeeding(deleter.run(to_delete, self.lifecycle.clone())));
    }

    fn start_heartbeat(&self, settings: &Settings, gate: GateKeeper) {
        let heartbeat = Heartbeat {
            queue: self.source.clone(),
            in_flight: Arc::clone(&self.in_flight),
            outage: CallOutage::of(&self.source, "extend the visibility timeout"),
            gate,
            visibility: settings.visibility(),
            max_receives: self.max_receives.clone(),
        };
        let beating = succeeding(heartbeat.run(self.stop_heartbeat.clone()));
        self.lifecycle.spawn("heartbeat", self.heartbeat.track_future(beating));
    }

    fn start_stage(
        &self,
        name: &'static str,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let lifecycle = self.lifecycle.clone();
        let task = async move {
            tokio::select! {
                ended = task => ended,
                () = last_calls_over(&lifecycle) => {
                    tracing::debug!(stage = name, "calls are still under way; stopped");
                    Ok(())
                }
            }
        };
        self.lifecycle.spawn(name, self.running.track_future(task));
    }
}

/// What is sent of a message is what its newest receive says: whether it is the last one, above all.
fn refresh(
    in_flight: Arc<SqsInFlight>,
    max_receives: MaxReceives,
) -> impl Fn(DeliveryNumber, &mut RawRecord) + Send + 'static {
    move |number, record| {
        in_flight.with(number, |delivery| {
            record.receive_count = delivery.message.receive_count;
            record.last_receive = max_receives.is_last(record.receive_count);
            delivery.message.is_sent_as_last = record.last_receive;
        });
    }
}

/// A message may have been received for the last time after its record was sent: then whoever decides is told
/// so by another record.
fn undecided(max_receives: MaxReceives) -> impl Fn(&SqsDelivery) -> Undecided + Send + Sync + 'static {
    move |delivery| {
        let message = &delivery.message;
        if !max_receives.is_last(message.receive_count) {
            Undecided::ComesAgain
        } else if message.is_sent_as_last {
            Undecided::IsLost
        } else {
            Undecided::SendAgain(message::record(&delivery.message_id, message))
        }
    }
}

async fn succeeding(task: impl Future<Output = ()>) -> anyhow::Result<()> {
    task.await;
    Ok(())
}
