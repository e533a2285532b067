//! Gathers what has been received into batches for the masker.

use std::collections::VecDeque;
use std::fmt;

use tokio::sync::{mpsc, oneshot};
use tracing::Span;
use veilpost_proto::v1::{RawBatch, RawRecord};
use veilpost_runtime::{Outgoing, OutgoingSource, numbers, telemetry};

use crate::delivery::DeliveryNumber;
use crate::metrics::BATCH_RECORDS;
use crate::settler::PendingReceipt;
use crate::spans::{self, Destination};

/// The most suspects in one batch: if its stream breaks, the link sends them again one at a time.
const MAX_SUSPECTS: usize = 50;

/// The most bytes that encoding adds to a record's texts.
const RECORD_OVERHEAD: usize = 64;

/// A delivery that waits for its batch.
pub struct Arrival {
    /// Which delivery it is.
    pub number: DeliveryNumber,
    /// What the masker gets of it.
    pub record: RawRecord,
    /// The message has been delivered so often that it may be what breaks its receivers.
    pub suspect: bool,
    /// The span of the receive that brought it.
    pub receive: Span,
}

/// Shows nothing of the message.
impl fmt::Debug for Arrival {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Arrival")
            .field("number", &self.number)
            .field("suspect", &self.suspect)
            .finish_non_exhaustive()
    }
}

/// How large a batch may grow.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// The most records in a batch.
    pub records: usize,
    /// The most bytes of an encoded batch. A record that is larger by itself goes alone.
    pub bytes: usize,
}

/// Makes the batches that the link sends.
///
/// The link asks for a batch only when a stream can take it. Whatever has arrived by then becomes the batch;
/// nothing ever waits for a batch to fill. Records keep the order in which they arrived, suspects among
/// themselves.
#[derive(Debug)]
pub struct Batcher {
    pipeline: String,
    source: Destination,
    limits: BatchLimits,
    arriving: mpsc::Receiver<Vec<Arrival>>,
    pending: mpsc::Sender<PendingReceipt>,
    regular: VecDeque<Arrival>,
    suspects: VecDeque<Arrival>,
    suspects_next: bool,
    refresh: Option<Refresh>,
}

/// Updates a record that is about to be sent.
struct Refresh(Box<UpdateRecord>);

type UpdateRecord = dyn Fn(DeliveryNumber, &mut RawRecord) + Send;

impl fmt::Debug for Refresh {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Refresh(..)")
    }
}

impl Batcher {
    /// Batches what comes from `arriving`, for the pipeline named `pipeline`.
    ///
    /// Before the link gets a batch, the batch's [`PendingReceipt`] is sent through `pending` to the
    /// [`Settler`](crate::Settler).
    pub fn new(
        pipeline: String,
        source: Destination,
        limits: BatchLimits,
        arriving: mpsc::Receiver<Vec<Arrival>>,
        pending: mpsc::Sender<PendingReceipt>,
    ) -> Self {
        let (regular, suspects) = Default::default();
        let (suspects_next, refresh) = (false, None);
        Self { pipeline, source, limits, arriving, pending, regular, suspects, suspects_next, refresh }
    }

    /// Has `refresh` update each record when its batch is made: a message may have been received again since
    /// it arrived.
    #[must_use]
    pub fn with_refresh(self, refresh: impl Fn(DeliveryNumber, &mut RawRecord) + Send + 'static) -> Self {
        Self { refresh: Some(Refresh(Box::new(refresh))), ..self }
    }

    fn accept(&mut self, arrivals: Vec<Arrival>) {
        for arrival in arrivals {
            if arrival.suspect { self.suspects.push_back(arrival) } else { self.regular.push_back(arrival) }
        }
    }

    /// Takes the next batch from what waits. Regular batches and suspects take turns, so that neither delays
    /// the other.
    fn cut(&mut self) -> Option<(Vec<Arrival>, bool)> {
        let suspect = !self.suspects.is_empty() && (self.suspects_next || self.regular.is_empty());
        self.suspects_next = !suspect;
        let batch = if suspect {
            let records = self.limits.records.min(MAX_SUSPECTS);
            cut_from(&mut self.suspects, BatchLimits { records, ..self.limits })
        } else {
            cut_from(&mut self.regular, self.limits)
        };
        (!batch.is_empty()).then_some((batch, suspect))
    }

    /// The batch for the link, and what the settler needs to know of it.
    fn outgoing(&self, batch: Vec<Arrival>, suspect: bool) -> (Outgoing<RawBatch>, PendingReceipt) {
        let (reply, receipt) = oneshot::channel();
        let mut receives = Vec::with_capacity(batch.len());
        let (numbers, records): (_, Vec<_>) = batch
            .into_iter()
            .map(|Arrival { number, mut record, receive, .. }| {
                receives.push(receive);
                if let Some(Refresh(refresh)) = &self.refresh {
                    refresh(number, &mut record);
                }
                (number, record)
            })
            .unzip();
        let span = spans::process(&self.source, receives.iter(), &records);
        let trace = telemetry::context_of(&span);
        let batch =
            RawBatch { id: 0, pipeline: self.pipeline.clone(), records, trace, ..RawBatch::default() };
        (Outgoing { batch, reply, suspect }, PendingReceipt { numbers, receipt, span })
    }
}

impl OutgoingSource for Batcher {
    type Batch = RawBatch;

    /// The next batch, never empty. `None` when `arriving` is closed and everything has been batched, or when
    /// the settler has ended. Cancel safe: a dropped future has taken nothing out.
    async fn next(&mut self) -> Option<Outgoing<RawBatch>> {
        while self.regular.is_empty() && self.suspects.is_empty() {
            let arrivals = self.arriving.recv().await?;
            self.accept(arrivals);
        }
        while self.regular.len() < self.limits.records
            && let Ok(arrivals) = self.arriving.try_recv()
        {
            self.accept(arrivals);
        }
        // The channel's room comes first: a batch that is cut must not be lost when this future is dropped.
        let room = self.pending.clone().reserve_owned().await.ok()?;
        let (batch, suspect) = self.cut()?;
        metrics::histogram!(BATCH_RECORDS).record(numbers::to_f64(batch.len()));
        let (outgoing, pending) = self.outgoing(batch, suspect);
        room.send(pending);
        Some(outgoing)
    }
}

fn cut_from(waiting: &mut VecDeque<Arrival>, limits: BatchLimits) -> Vec<Arrival> {
    let mut bytes = 0;
    let fits = |arrival: &&Arrival| {
        bytes += max_encoded_bytes(&arrival.record);
        bytes <= limits.bytes
    };
    let count = waiting.iter().take(limits.records).take_while(fits).count();
    waiting.drain(..count.max(1).min(waiting.len())).collect()
}

fn max_encoded_bytes(record: &RawRecord) -> usize {
    let producer = record.producer.as_ref();
    RECORD_OVERHEAD
        + record.message_id.len()
        + record.body.as_deref().map_or(0, <[u8]>::len)
        + producer.map_or(0, |context| context.traceparent.len() + context.tracestate.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use proptest::prelude::*;

    struct Harness {
        batcher: Batcher,
        arrivals: mpsc::Sender<Vec<Arrival>>,
        batches: mpsc::Receiver<PendingReceipt>,
    }

    fn harness(records: usize, bytes: usize) -> Harness {
        let (arrivals, arriving) = mpsc::channel(100);
        let (pending, batches) = mpsc::channel(100);
        let limits = BatchLimits { records, bytes };
        Harness {
            batcher: Batcher::new("p".to_owned(), source(), limits, arriving, pending),
            arrivals,
            batches,
        }
    }

    fn source() -> Destination {
        Destination { system: "test", name: "q".to_owned() }
    }

    fn arrival(number: u64, body: usize, suspect: bool) -> Arrival {
        let record = RawRecord {
            message_id: number.to_string(),
            body: Some(vec![b'x'; body].into()),
            ..RawRecord::default()
        };
        Arrival { number: DeliveryNumber::new(number), record, suspect, receive: Span::none() }
    }

    fn ids(outgoing: &Outgoing<RawBatch>) -> Vec<&str> {
        outgoing.batch.records.iter().map(|record| record.message_id.as_str()).collect()
    }

    #[tokio::test]
    async fn what_arrived_by_then_becomes_one_batch_and_nothing_waits_for_more() {
        let mut harness = harness(1000, 1 << 20);
        for round in 0..3 {
            harness.arrivals.try_send((0..10).map(|n| arrival(round * 10 + n, 5, false)).collect()).unwrap();
        }
        let outgoing = harness.batcher.next().now_or_never().unwrap().unwrap();
        assert_eq!(outgoing.batch.records.len(), 30);
        assert_eq!(harness.batches.try_recv().unwrap().numbers.len(), 30);
        assert!(harness.batcher.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn the_same_message_twice_in_flight_is_two_deliveries() {
        let mut harness = harness(1000, 1 << 20);
        let mut twice = vec![arrival(1, 5, false), arrival(2, 5, false)];
        twice[1].record.message_id = "1".to_owned();
        harness.arrivals.try_send(twice).unwrap();
        let outgoing = harness.batcher.next().await.unwrap();
        assert_eq!(ids(&outgoing), ["1", "1"]);
        assert_eq!(
            harness.batches.try_recv().unwrap().numbers,
            [DeliveryNumber::new(1), DeliveryNumber::new(2)]
        );
    }

    #[tokio::test]
    async fn suspects_share_no_batch_with_others_and_both_take_turns() {
        let mut harness = harness(2, 1 << 20);
        let arrivals = (0..9).map(|n| arrival(n, 5, n >= 4)).collect();
        harness.arrivals.try_send(arrivals).unwrap();
        drop(harness.arrivals);
        let mut seen = Vec::new();
        while let Some(outgoing) = harness.batcher.next().await {
            seen.push((ids(&outgoing).join(","), outgoing.suspect));
        }
        let expected = [("0,1", false), ("4,5", true), ("2,3", false), ("6,7", true), ("8", true)];
        assert_eq!(seen, expected.map(|(ids, suspect)| (ids.to_owned(), suspect)));
    }

    #[tokio::test]
    async fn a_receive_that_brought_nothing_usable_is_not_the_end() {
        let mut harness = harness(10, 1 << 20);
        harness.arrivals.try_send(Vec::new()).unwrap();
        assert!(harness.batcher.next().now_or_never().is_none(), "waits for more");
        harness.arrivals.try_send(vec![arrival(1, 5, false)]).unwrap();
        assert_eq!(ids(&harness.batcher.next().await.unwrap()), ["1"]);
    }

    #[tokio::test]
    async fn a_batch_waits_for_room_in_the_settlers_channel_and_is_not_lost() {
        let (arrivals, receiver) = mpsc::channel(10);
        let (sender, mut pending) = mpsc::channel(1);
        let limits = BatchLimits { records: 1, bytes: 100 };
        let mut batcher = Batcher::new("p".to_owned(), source(), limits, receiver, sender);
        arrivals.try_send(vec![arrival(1, 5, false), arrival(2, 5, false)]).unwrap();
        assert!(batcher.next().await.is_some());
        assert!(batcher.next().now_or_never().is_none());
        assert_eq!(pending.recv().await.unwrap().numbers, [DeliveryNumber::new(1)]);
        assert_eq!(ids(&batcher.next().await.unwrap()), ["2"]);
    }

    #[test]
    fn debug_shows_no_body() {
        let mut secret = arrival(1, 0, false);
        secret.record.body = Some("very-secret".into());
        let bytes = format!("{:?}", b"very-secret");
        let shown = format!("{secret:?}");
        assert!(!shown.contains("very-secret") && !shown.contains(&bytes), "{shown}");
    }

    #[tokio::test]
    async fn the_end_comes_after_the_last_arrival() {
        let mut harness = harness(10, 1 << 20);
        harness.arrivals.try_send(vec![arrival(1, 5, false)]).unwrap();
        drop(harness.arrivals);
        assert!(harness.batcher.next().await.is_some());
        assert!(harness.batcher.next().await.is_none());
    }

    proptest! {
        #[test]
        fn batches_keep_their_limits_and_the_order_and_lose_nothing(
            sizes in prop::collection::vec(0usize..5000, 1..80),
            records in 1usize..30,
            bytes in 100usize..20_000,
        ) {
            let mut harness = harness(records, bytes);
            let arrivals = sizes.iter().zip(0..).map(|(size, number)| arrival(number, *size, false)).collect();
            harness.arrivals.try_send(arrivals).unwrap();
            drop(harness.arrivals);
            let mut seen = Vec::new();
            while let Some(outgoing) = harness.batcher.next().now_or_never().unwrap() {
                let batch = &outgoing.batch;
                prop_assert!((1..=records).contains(&batch.records.len()));
                prop_assert!(batch.records.len() == 1 || prost::Message::encoded_len(batch) <= bytes + 16);
                seen.extend(ids(&outgoing).into_iter().map(str::to_owned));
            }
            prop_assert_eq!(seen, (0..sizes.len()).map(|n| n.to_string()).collect::<Vec<_>>());
        }
    }
}
