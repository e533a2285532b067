//! Gathers what the pollers receive into batches for the masker.

use std::collections::VecDeque;
use std::fmt;

use tokio::sync::{mpsc, oneshot};
use tracing::Span;
use veilpost_proto::v1::{RawBatch, RawRecord};
use veilpost_runtime::{Outgoing, OutgoingSource, telemetry};

use crate::delivery::DeliveryNumber;
use crate::metrics::real;
use crate::settler::Awaited;
use crate::spans;

/// Suspects in one batch, at most: if its stream breaks, they are sent one at a time.
const SUSPECTS: usize = 50;

/// What a record's fields add to its texts when it is encoded, at most.
const RECORD_OVERHEAD: usize = 64;

/// A delivery on its way into a batch.
pub(crate) struct Arrival {
    pub(crate) number: DeliveryNumber,
    pub(crate) record: RawRecord,
    /// It has been delivered so often that it may be what kills its receivers.
    pub(crate) suspect: bool,
    /// The span of the receive that brought it.
    pub(crate) receive: Span,
}

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
pub(crate) struct BatchLimits {
    pub(crate) records: usize,
    /// Of the encoded batch; a single record may be larger.
    pub(crate) bytes: usize,
}

/// The link's source. It is asked only when a stream can take a batch; what has arrived by then becomes the batch, and
/// nothing is ever waited for to fill one.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) pipeline: String,
    /// The queue's name.
    pub(crate) queue: String,
    pub(crate) limits: BatchLimits,
    arriving: mpsc::Receiver<Vec<Arrival>>,
    awaited: mpsc::Sender<Awaited>,
    regular: VecDeque<Arrival>,
    suspects: VecDeque<Arrival>,
    suspect_next: bool,
}

impl Intake {
    pub(crate) fn new(
        pipeline: String,
        queue: String,
        limits: BatchLimits,
        arriving: mpsc::Receiver<Vec<Arrival>>,
        awaited: mpsc::Sender<Awaited>,
    ) -> Self {
        let (regular, suspects) = Default::default();
        Self { pipeline, queue, limits, arriving, awaited, regular, suspects, suspect_next: false }
    }

    fn accept(&mut self, arrivals: Vec<Arrival>) {
        for arrival in arrivals {
            if arrival.suspect { self.suspects.push_back(arrival) } else { self.regular.push_back(arrival) }
        }
    }

    /// Regular batches and suspects take turns, so that neither holds up the other.
    fn cut(&mut self) -> Option<(Vec<Arrival>, bool)> {
        let suspect = !self.suspects.is_empty() && (self.suspect_next || self.regular.is_empty());
        self.suspect_next = !suspect;
        let batch = if suspect {
            let records = self.limits.records.min(SUSPECTS);
            cut_from(&mut self.suspects, BatchLimits { records, ..self.limits })
        } else {
            cut_from(&mut self.regular, self.limits)
        };
        (!batch.is_empty()).then_some((batch, suspect))
    }

    /// A batch for the link, and what settling needs to know of it.
    fn parcel(&self, batch: Vec<Arrival>, suspect: bool) -> (Outgoing<RawBatch>, Awaited) {
        let (reply, receipt) = oneshot::channel();
        let mut receives = Vec::with_capacity(batch.len());
        let (numbers, records): (_, Vec<_>) = batch
            .into_iter()
            .map(|Arrival { number, record, receive, .. }| {
                receives.push(receive);
                (number, record)
            })
            .unzip();
        let span = spans::process(&self.queue, receives.iter(), &records);
        let trace = telemetry::context_of(&span);
        let batch =
            RawBatch { id: 0, pipeline: self.pipeline.clone(), records, trace, ..RawBatch::default() };
        (Outgoing { batch, reply, suspect }, Awaited { numbers, receipt, span })
    }
}

impl OutgoingSource for Intake {
    type Batch = RawBatch;

    /// `None` also when nobody is left to settle what would come back.
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
        // Room comes first: a batch that is cut must not be lost when this future is dropped.
        let room = self.awaited.clone().reserve_owned().await.ok()?;
        let (batch, suspect) = self.cut()?;
        histogram(batch.len());
        let (parcel, awaited) = self.parcel(batch, suspect);
        room.send(awaited);
        Some(parcel)
    }
}

fn cut_from(waiting: &mut VecDeque<Arrival>, limits: BatchLimits) -> Vec<Arrival> {
    let mut bytes = 0;
    let fits = |arrival: &&Arrival| {
        bytes += encoded_size(&arrival.record);
        bytes <= limits.bytes
    };
    let count = waiting.iter().take(limits.records).take_while(fits).count();
    waiting.drain(..count.max(1).min(waiting.len())).collect()
}

fn histogram(records: usize) {
    metrics::histogram!("veilpost_reader_batch_records").record(real(records));
}

/// An upper bound.
fn encoded_size(record: &RawRecord) -> usize {
    let producer = record.producer.as_ref();
    RECORD_OVERHEAD
        + record.message_id.len()
        + record.body.as_ref().map_or(0, bytes::Bytes::len)
        + producer.map_or(0, |context| context.traceparent.len() + context.tracestate.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use proptest::prelude::*;

    struct Bench {
        intake: Intake,
        arriving: mpsc::Sender<Vec<Arrival>>,
        awaited: mpsc::Receiver<Awaited>,
    }

    fn bench(records: usize, bytes: usize) -> Bench {
        let (arriving, receiver) = mpsc::channel(100);
        let (sender, awaited) = mpsc::channel(100);
        let intake =
            Intake::new("p".to_owned(), "q".to_owned(), BatchLimits { records, bytes }, receiver, sender);
        Bench { intake, arriving, awaited }
    }

    fn arrival(number: u64, body: usize, suspect: bool) -> Arrival {
        let record = RawRecord {
            message_id: number.to_string(),
            body: Some(vec![b'x'; body].into()),
            ..RawRecord::default()
        };
        Arrival { number: DeliveryNumber(number), record, suspect, receive: Span::none() }
    }

    fn ids(parcel: &Outgoing<RawBatch>) -> Vec<&str> {
        parcel.batch.records.iter().map(|record| record.message_id.as_str()).collect()
    }

    #[tokio::test]
    async fn what_arrived_meanwhile_becomes_one_batch_and_nothing_is_waited_for() {
        let mut bench = bench(1000, 1 << 20);
        for round in 0..3 {
            bench.arriving.try_send((0..10).map(|n| arrival(round * 10 + n, 5, false)).collect()).unwrap();
        }
        let parcel = bench.intake.next().now_or_never().unwrap().unwrap();
        assert_eq!(parcel.batch.records.len(), 30);
        assert_eq!(bench.awaited.try_recv().unwrap().numbers.len(), 30);
        assert!(bench.intake.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn the_same_message_twice_in_flight_is_two_deliveries() {
        let mut bench = bench(1000, 1 << 20);
        let mut twice = vec![arrival(1, 5, false), arrival(2, 5, false)];
        twice[1].record.message_id = "1".to_owned();
        bench.arriving.try_send(twice).unwrap();
        let parcel = bench.intake.next().await.unwrap();
        assert_eq!(ids(&parcel), ["1", "1"]);
        assert_eq!(bench.awaited.try_recv().unwrap().numbers, [DeliveryNumber(1), DeliveryNumber(2)]);
    }

    #[tokio::test]
    async fn suspects_share_no_batch_with_others_and_neither_overtakes_for_ever() {
        let mut bench = bench(2, 1 << 20);
        let arrivals = (0..9).map(|n| arrival(n, 5, n >= 4)).collect();
        bench.arriving.try_send(arrivals).unwrap();
        drop(bench.arriving);
        let mut seen = Vec::new();
        while let Some(parcel) = bench.intake.next().await {
            seen.push((ids(&parcel).join(","), parcel.suspect));
        }
        let expected = [("0,1", false), ("4,5", true), ("2,3", false), ("6,7", true), ("8", true)];
        assert_eq!(seen, expected.map(|(ids, suspect)| (ids.to_owned(), suspect)));
    }

    #[tokio::test]
    async fn a_receive_that_brought_nothing_usable_is_not_the_end() {
        let mut bench = bench(10, 1 << 20);
        bench.arriving.try_send(Vec::new()).unwrap();
        assert!(bench.intake.next().now_or_never().is_none(), "waits for more");
        bench.arriving.try_send(vec![arrival(1, 5, false)]).unwrap();
        assert_eq!(ids(&bench.intake.next().await.unwrap()), ["1"]);
    }

    #[tokio::test]
    async fn without_room_for_what_settles_it_a_batch_waits_and_loses_nothing() {
        let (arriving, receiver) = mpsc::channel(10);
        let (sender, mut awaited) = mpsc::channel(1);
        let limits = BatchLimits { records: 1, bytes: 100 };
        let mut intake = Intake::new("p".to_owned(), "q".to_owned(), limits, receiver, sender);
        arriving.try_send(vec![arrival(1, 5, false), arrival(2, 5, false)]).unwrap();
        assert!(intake.next().await.is_some());
        assert!(intake.next().now_or_never().is_none());
        assert_eq!(awaited.recv().await.unwrap().numbers, [DeliveryNumber(1)]);
        assert_eq!(ids(&intake.next().await.unwrap()), ["2"]);
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
        let mut bench = bench(10, 1 << 20);
        bench.arriving.try_send(vec![arrival(1, 5, false)]).unwrap();
        drop(bench.arriving);
        assert!(bench.intake.next().await.is_some());
        assert!(bench.intake.next().await.is_none());
    }

    proptest! {
        #[test]
        fn batches_keep_their_limits_and_the_order_and_lose_nothing(
            sizes in prop::collection::vec(0usize..5000, 1..80),
            records in 1usize..30,
            bytes in 100usize..20_000,
        ) {
            let mut bench = bench(records, bytes);
            let arrivals = sizes.iter().zip(0..).map(|(size, number)| arrival(number, *size, false)).collect();
            bench.arriving.try_send(arrivals).unwrap();
            drop(bench.arriving);
            let mut seen = Vec::new();
            while let Some(parcel) = bench.intake.next().now_or_never().unwrap() {
                let batch = &parcel.batch;
                prop_assert!((1..=records).contains(&batch.records.len()));
                prop_assert!(batch.records.len() == 1 || prost::Message::encoded_len(batch) <= bytes + 16);
                seen.extend(ids(&parcel).into_iter().map(str::to_owned));
            }
            prop_assert_eq!(seen, (0..sizes.len()).map(|n| n.to_string()).collect::<Vec<_>>());
        }
    }
}
