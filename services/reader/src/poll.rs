//! A poller: receives, over and over, as much as the in-flight window has room for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_sqs::types::Message;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{Instrument, Span};
use veilpost_runtime::{Backoff, Lifecycle};

use crate::acquitted::Acquitted;
use crate::delivery::{self, Delivery};
use crate::in_flight::InFlight;
use crate::intake::Arrival;
use crate::problem::Trouble;
use crate::queue::{Ask, Queue};
use crate::spans;
use crate::window::{Reservation, Window};

/// An empty answer that comes sooner than this, though a longer wait was asked for, is not followed at once by the
/// next call: some servers do not know long polling, and AWS does the same when too much is in flight.
const TOO_SOON: Duration = Duration::from_millis(100);

/// All pollers of a reader are clones of one.
#[derive(Clone, Debug)]
pub(crate) struct Poller {
    pub(crate) queue: Queue,
    pub(crate) window: Arc<Window>,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) trouble: Arc<Trouble>,
    pub(crate) arrivals: mpsc::Sender<Vec<Arrival>>,
    pub(crate) wait: Duration,
    pub(crate) visibility: Duration,
    /// A message delivered more often than this is under suspicion, unless it is known to do no harm.
    pub(crate) suspect_after: u32,
    pub(crate) acquitted: Arc<Acquitted>,
    /// It has been said that the queue gives no sent times.
    pub(crate) said_timeless: Arc<AtomicBool>,
}

impl Poller {
    /// Receives until the drain. A long poll under way is awaited, and what it brings is passed on like all the rest.
    pub(crate) async fn run(self, lifecycle: Lifecycle) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(20));
        loop {
            let reservation = tokio::select! {
                biased;
                () = lifecycle.draining() => return,
                reservation = self.window.reserve() => reservation,
            };
            let asked = Instant::now();
            let span = spans::receive(&self.queue);
            let pause = match self.receive(&reservation).instrument(span.clone()).await {
                Ok(messages) => {
                    span.record("messaging.batch.message_count", spans::count(messages.len()));
                    backoff.reset();
                    self.trouble.over();
                    let arrived = self.pass_on(messages, reservation, &span).await;
                    (arrived == 0 && asked.elapsed() < TOO_SOON).then_some(TOO_SOON)
                }
                Err(problem) => {
                    span.record("otel.status_code", "ERROR");
                    span.in_scope(|| self.trouble.met(&problem));
                    drop(reservation);
                    Some(backoff.next_delay())
                }
            };
            if let Some(pause) = pause {
                tokio::select! {
                    () = lifecycle.draining() => return,
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
    }

    async fn receive(&self, room: &Reservation) -> Result<Vec<Message>, crate::problem::Problem> {
        let ask = Ask { messages: room.messages(), wait: self.wait, visibility: self.visibility };
        self.queue.receive(ask).await
    }

    /// How many messages went on.
    async fn pass_on(&self, messages: Vec<Message>, mut room: Reservation, receive: &Span) -> usize {
        let came = messages.len();
        let received = Instant::now();
        let arrivals: Vec<_> = messages
            .into_iter()
            .filter_map(|message| self.take(message, received, &mut room, receive))
            .collect();
        drop(room);
        let arrived = arrivals.len();
        if arrived < came {
            tracing::warn!(ignored = came - arrived, "messages came without an id or a receipt handle");
        }
        if arrived == 0 {
            return 0;
        }
        metrics::counter!("veilpost_reader_deliveries_total")
            .increment(u64::try_from(arrived).unwrap_or_default());
        if self.arrivals.send(arrivals).await.is_err() {
            tracing::debug!("the link has ended; what came is given back");
        }
        arrived
    }

    fn take(
        &self,
        message: Message,
        received: Instant,
        room: &mut Reservation,
        receive: &Span,
    ) -> Option<Arrival> {
        let share = room.share(delivery::size(&message));
        let delivery = Delivery::new(message, received, share)?;
        let record = delivery.record();
        if delivery.sent_timestamp_ms == 0 {
            self.say_timeless(&delivery.message_id);
        }
        let suspect = self.suspects(&delivery);
        Some(Arrival { number: self.in_flight.insert(delivery), record, suspect, receive: receive.clone() })
    }

    fn suspects(&self, delivery: &Delivery) -> bool {
        let suspect =
            delivery.receive_count > self.suspect_after && !self.acquitted.contains(&delivery.message_id);
        if suspect {
            metrics::counter!("veilpost_reader_suspects_total").increment(1);
        }
        suspect
    }

    /// Counts each, says it once: the writer's ledger needs the sent time.
    fn say_timeless(&self, message_id: &str) {
        metrics::counter!("veilpost_reader_deliveries_without_sent_time_total").increment(1);
        if !self.said_timeless.swap(true, Ordering::Relaxed) {
            tracing::error!(
                message_id,
                queue = self.queue.url(),
                "the queue gives no sent time (SentTimestamp); without one the writer leaves every message"
            );
        }
    }
}
