//! The pollers: they receive messages, several calls at once, as many as the in-flight window has room for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_sqs::types::Message;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tracing::{Instrument, Span};
use veilpost_proto::v1::RawRecord;
use veilpost_reader_core::metrics::{DELIVERIES, DELIVERIES_WITHOUT_SENT_TIME, SUSPECTS};
use veilpost_reader_core::spans::{self, MESSAGE_COUNT};
use veilpost_reader_core::{
    AdaptiveConcurrency, Arrival, CallYield, DeliveryNumber, KnownRejects, Received, Reservation, Window,
};
use veilpost_runtime::{Backoff, Lifecycle, numbers, telemetry};

use crate::message::{self, SqsInFlight, SqsMessage};
use crate::metrics::{ADOPTED, POLLERS};
use crate::outage::CallOutage;
use crate::queue::{Queue, ReceiveOptions};
use crate::receive_gate::ReceiveGate;

/// After an empty answer that comes sooner than this, the next call waits. Some servers do not know long
/// polling, and AWS answers at once when too much is in flight.
const TOO_SOON: Duration = Duration::from_millis(100);

const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Pollers {
    pub(crate) queue: Queue,
    pub(crate) window: Arc<Window>,
    /// Closed while messages in flight cannot be kept hidden.
    pub(crate) gate: ReceiveGate,
    pub(crate) in_flight: Arc<SqsInFlight>,
    pub(crate) outage: CallOutage,
    pub(crate) arrivals: mpsc::Sender<Vec<Arrival>>,
    pub(crate) wait: Duration,
    pub(crate) visibility: Duration,
    /// A message that has been delivered more often than this is a suspect, unless its rejection is known.
    pub(crate) suspect_after: u32,
    pub(crate) known_rejects: Arc<KnownRejects>,
    /// A missing sent time has been logged.
    pub(crate) no_sent_time_logged: AtomicBool,
    pub(crate) lifecycle: Lifecycle,
}

impl Pollers {
    /// Receives until the drain, with as many calls at once as `concurrency` allows. Long polls under way are
    /// awaited; what they bring is processed like everything else.
    pub(crate) async fn run(self, mut concurrency: AdaptiveConcurrency) -> anyhow::Result<()> {
        let (pollers, mut polls) = (Arc::new(self), JoinSet::new());
        let allowed = metrics::gauge!(POLLERS);
        let ended = loop {
            allowed.set(numbers::to_f64(concurrency.allowed()));
            tokio::select! {
                biased;
                () = pollers.lifecycle.draining() => break Ok(()),
                Some(poll) = polls.join_next() => match poll {
                    Ok(carried) => concurrency.ended(carried, Instant::now()),
                    Err(panicked) => break Err(panicked),
                },
                room = pollers.admitted(), if polls.len() < concurrency.allowed() => {
                    concurrency.began(Instant::now());
                    polls.spawn(Arc::clone(&pollers).poll(room));
                }
            }
        };
        without_message(await_all(&mut polls, ended).await)
    }

    /// Waits until the gate is open and the window has room. Cancel safe.
    async fn admitted(&self) -> Reservation {
        loop {
            self.gate.opened().await;
            let room = self.window.reserve().await;
            if self.gate.is_open() {
                return room;
            }
        }
    }

    /// Makes one receive, and pauses after it if it failed or came back empty too soon.
    async fn poll(self: Arc<Self>, room: Reservation) -> CallYield {
        let (asked, asked_ms, messages) = (Instant::now(), epoch_ms(), room.messages());
        let span = spans::receive(self.queue.destination());
        let options = ReceiveOptions { messages, wait: self.wait, visibility: self.visibility };
        let (carried, pause) = match self.queue.receive(options).instrument(span.clone()).await {
            Ok(messages) => {
                span.record(MESSAGE_COUNT, numbers::to_i64(messages.len()));
                self.outage.succeeded();
                let carried = self.pass_on(messages, room, asked_ms, &span).await;
                let too_soon = carried.items == 0 && asked.elapsed() < TOO_SOON;
                (carried, too_soon.then_some(TOO_SOON))
            }
            Err(problem) => {
                telemetry::failed(&span, problem.kind());
                drop(room);
                span.in_scope(|| self.outage.failed(&problem));
                (CallYield { room: messages, ..CallYield::default() }, Some(pause(self.outage.duration())))
            }
        };
        drop(span);
        if let Some(pause) = pause {
            tokio::select! {
                () = self.lifecycle.draining() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        carried
    }

    /// Passes on what a receive brought.
    ///
    /// Messages sent before `asked_ms` count as waiting. If this machine's clock is behind the queue's, a
    /// message counts as waiting only once it has waited for that long too.
    async fn pass_on(
        &self,
        messages: Vec<Message>,
        mut room: Reservation,
        asked_ms: i64,
        receive: &Span,
    ) -> CallYield {
        let came = messages.len();
        let mut carried = CallYield { room: room.messages(), ..CallYield::default() };
        let mut arrivals = Vec::with_capacity(came);
        for message in messages {
            carried.items += usize::from(self.take(message, &mut room, receive, &mut arrivals));
        }
        let waited = |arrival: &&Arrival| arrival.record.sent_timestamp_ms < asked_ms;
        carried.were_waiting = arrivals.iter().filter(waited).count();
        drop(room);
        if carried.items < came {
            tracing::warn!(ignored = came - carried.items, "messages came without an id or a receipt handle");
        }
        metrics::counter!(DELIVERIES).increment(numbers::to_u64(carried.items));
        if !arrivals.is_empty() && self.arrivals.send(arrivals).await.is_err() {
            tracing::debug!("the link has ended; what came is released");
        }
        carried
    }

    /// Takes a message in, and adds it to `arrivals` unless it is in flight already. False when nothing can
    /// settle it.
    fn take(
        &self,
        message: Message,
        room: &mut Reservation,
        receive: &Span,
        arrivals: &mut Vec<Arrival>,
    ) -> bool {
        let bytes = message::bytes(&message);
        let Some((message_id, message)) = message::incoming(message) else { return false };
        let record = message::record(&message_id, &message);
        let suspect = self.is_suspect(&message_id, &message);
        match self.in_flight.receive(message_id, message, || room.permit(bytes), SqsMessage::adopt) {
            Received::New(number) => arrivals.push(self.arrival(number, record, suspect, receive)),
            Received::Adopted(_) => metrics::counter!(ADOPTED).increment(1),
        }
        true
    }

    fn arrival(&self, number: DeliveryNumber, record: RawRecord, suspect: bool, receive: &Span) -> Arrival {
        if record.sent_timestamp_ms == 0 {
            self.note_no_sent_time(&record.message_id);
        }
        if suspect {
            metrics::counter!(SUSPECTS).increment(1);
        }
        Arrival { number, record, suspect, receive: receive.clone() }
    }

    fn is_suspect(&self, message_id: &str, message: &SqsMessage) -> bool {
        message.receive_count > self.suspect_after && !self.known_rejects.contains(message_id)
    }

    /// Counts every message without a sent time and logs the first. The writer's ledger needs the sent time.
    fn note_no_sent_time(&self, message_id: &str) {
        metrics::counter!(DELIVERIES_WITHOUT_SENT_TIME).increment(1);
        if !self.no_sent_time_logged.swap(true, Ordering::Relaxed) {
            tracing::error!(
                message_id,
                queue = self.queue.url(),
                "the queue gives no sent time (SentTimestamp); without one the writer leaves every message"
            );
        }
    }
}

/// Awaits the polls under way. The result is the first panic, if there was one.
async fn await_all(
    polls: &mut JoinSet<CallYield>,
    mut ended: Result<(), JoinError>,
) -> Result<(), JoinError> {
    while let Some(poll) = polls.join_next().await {
        ended = ended.and(poll.map(|_| ()));
    }
    ended
}

/// Leaves out the message of a panic, which may quote a body.
fn without_message(ended: Result<(), JoinError>) -> anyhow::Result<()> {
    ended.map_err(|_| anyhow::anyhow!("a receive panicked"))
}

/// Pauses grow with the time for which there has been no success, whatever the number of calls that fail.
fn pause(outage: Duration) -> Duration {
    Backoff::new((outage / 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE), LONGEST_PAUSE).next_delay()
}

fn epoch_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    numbers::to_i64(since_epoch.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_reported_without_its_message() {
        let mut polls = JoinSet::new();
        polls.spawn(async { panic!("a body stands here") });
        let ended = await_all(&mut polls, Ok(())).await;
        assert!(ended.as_ref().is_err_and(|error| error.to_string().contains("a body stands here")));
        assert_eq!(format!("{:#}", without_message(ended).unwrap_err()), "a receive panicked");
    }

    #[test]
    fn pauses_grow_with_the_outage_and_stay_within_bounds() {
        for (outage_ms, longest) in [(0, 200), (2000, 1000), (3_600_000, 20_000)] {
            let (pause, longest) = (pause(Duration::from_millis(outage_ms)), Duration::from_millis(longest));
            assert!(pause <= longest && pause >= longest / 11, "{pause:?} after {outage_ms} ms");
        }
    }
}
