//! The pollers: receives, several at once, as much as the in-flight window has room for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_sqs::types::Message;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tracing::{Instrument, Span};
use veilpost_runtime::{Backoff, Lifecycle, telemetry};

use crate::batcher::Arrival;
use crate::concurrency::{Haul, Pace};
use crate::delivery::{self, Delivery};
use crate::error::Trouble;
use crate::in_flight::InFlight;
use crate::known_rejects::Acquitted;
use crate::metrics::real;
use crate::queue::{Ask, Queue};
use crate::spans;
use crate::window::{Reservation, Window};

/// An empty answer that comes sooner than this, though a longer wait was asked for, is not followed at once by the
/// next call: some servers do not know long polling, and AWS does the same when too much is in flight.
const TOO_SOON: Duration = Duration::from_millis(100);

const SHORTEST_REST: Duration = Duration::from_millis(200);
const LONGEST_REST: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Pollers {
    pub(crate) queue: Queue,
    pub(crate) window: Arc<Window>,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) trouble: Trouble,
    pub(crate) arrivals: mpsc::Sender<Vec<Arrival>>,
    pub(crate) wait: Duration,
    pub(crate) visibility: Duration,
    /// A message delivered more often than this is under suspicion, unless it is known to do no harm.
    pub(crate) suspect_after: u32,
    pub(crate) acquitted: Arc<Acquitted>,
    /// It has been said that the queue gives no sent times.
    pub(crate) said_timeless: AtomicBool,
    pub(crate) lifecycle: Lifecycle,
}

impl Pollers {
    /// Receives until the drain, as many at once as `pace` allows. Long polls under way are awaited, and what they bring
    /// is passed on like all the rest.
    pub(crate) async fn run(self, mut pace: Pace) -> anyhow::Result<()> {
        let (pollers, mut polls) = (Arc::new(self), JoinSet::new());
        let allowed = metrics::gauge!("veilpost_reader_pollers");
        let ended = loop {
            allowed.set(real(pace.allowed()));
            tokio::select! {
                biased;
                () = pollers.lifecycle.draining() => break Ok(()),
                Some(poll) = polls.join_next() => match poll {
                    Ok(haul) => pace.ended(haul, Instant::now()),
                    Err(panicked) => break Err(panicked),
                },
                room = pollers.window.reserve(), if polls.len() < pace.allowed() => {
                    pace.began(Instant::now());
                    polls.spawn(Arc::clone(&pollers).poll(room));
                }
            }
        };
        told(rest_of(&mut polls, ended).await)
    }

    /// One receive, and a rest when there should be one after it.
    async fn poll(self: Arc<Self>, room: Reservation) -> Haul {
        let (asked, asked_ms, messages) = (Instant::now(), epoch_ms(), room.messages());
        let span = spans::receive(&self.queue);
        let ask = Ask { messages, wait: self.wait, visibility: self.visibility };
        let (haul, rest) = match self.queue.receive(ask).instrument(span.clone()).await {
            Ok(messages) => {
                span.record("messaging.batch.message_count", spans::count(messages.len()));
                self.trouble.over();
                let haul = self.pass_on(messages, room, asked_ms, &span).await;
                let idle = haul.brought == 0 && asked.elapsed() < TOO_SOON;
                (haul, idle.then_some(TOO_SOON))
            }
            Err(problem) => {
                telemetry::failed(&span, problem.kind());
                drop(room);
                span.in_scope(|| self.trouble.met(&problem));
                (Haul { room: messages, ..Haul::default() }, Some(rest(self.trouble.lasts())))
            }
        };
        drop(span);
        if let Some(rest) = rest {
            tokio::select! {
                () = self.lifecycle.draining() => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
        haul
    }

    /// A clock that is behind the queue's by some time only makes the pollers more when messages have waited so long.
    async fn pass_on(
        &self,
        messages: Vec<Message>,
        mut room: Reservation,
        asked_ms: i64,
        receive: &Span,
    ) -> Haul {
        let came = messages.len();
        let mut haul = Haul { room: room.messages(), ..Haul::default() };
        let received = Instant::now();
        let mut arrivals = Vec::with_capacity(came);
        for message in messages {
            let Some(arrival) = self.take(message, received, &mut room, receive) else { continue };
            haul.waited += usize::from(arrival.record.sent_timestamp_ms < asked_ms);
            arrivals.push(arrival);
        }
        drop(room);
        haul.brought = arrivals.len();
        if haul.brought < came {
            tracing::warn!(ignored = came - haul.brought, "messages came without an id or a receipt handle");
        }
        if arrivals.is_empty() {
            return haul;
        }
        metrics::counter!("veilpost_reader_deliveries_total")
            .increment(u64::try_from(haul.brought).unwrap_or_default());
        if self.arrivals.send(arrivals).await.is_err() {
            tracing::debug!("the link has ended; what came is given back");
        }
        haul
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

/// Awaits what is under way, and says how it all ended: well, or with the first panic.
async fn rest_of(polls: &mut JoinSet<Haul>, mut ended: Result<(), JoinError>) -> Result<(), JoinError> {
    while let Some(poll) = polls.join_next().await {
        ended = ended.and(poll.map(|_| ()));
    }
    ended
}

/// The error of a task repeats the message of its panic, which may quote the data at hand.
fn told(ended: Result<(), JoinError>) -> anyhow::Result<()> {
    ended.map_err(|_| anyhow::anyhow!("a receive panicked"))
}

/// Rests grow with the time for which there has been no success, whatever the number of calls that fail.
fn rest(lasts: Duration) -> Duration {
    Backoff::new((lasts / 2).clamp(SHORTEST_REST, LONGEST_REST), LONGEST_REST).next_delay()
}

fn epoch_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_without_its_message() {
        let mut polls = JoinSet::new();
        polls.spawn(async { panic!("a body stands here") });
        let ended = rest_of(&mut polls, Ok(())).await;
        assert!(ended.as_ref().is_err_and(|error| error.to_string().contains("a body stands here")));
        assert_eq!(format!("{:#}", told(ended).unwrap_err()), "a receive panicked");
    }

    #[test]
    fn rests_grow_with_the_trouble_and_stay_within_bounds() {
        for (lasts, longest) in [(0, 200), (2000, 1000), (3_600_000, 20_000)] {
            let (rest, longest) = (rest(Duration::from_millis(lasts)), Duration::from_millis(longest));
            assert!(rest <= longest && rest >= longest / 11, "{rest:?} after {lasts} ms");
        }
    }
}
