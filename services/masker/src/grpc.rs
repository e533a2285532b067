//! The gRPC server: batches in, receipts out, stream by stream.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};
use tracing::{Instrument, Span};
use veilpost_proto::v1::{MaskedBatch, RawBatch, Receipt, masker_server::Masker};
use veilpost_runtime::{Lifecycle, Outgoing, telemetry};

use crate::batch;
use crate::mask::Mask;

/// Batches of one stream that are worked on at once.
const BATCHES_AT_ONCE: u32 = 4;

type Receipts = mpsc::Sender<Result<Receipt, Status>>;

/// Serves streams; clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    mask: Arc<Mask>,
    link: mpsc::Sender<Outgoing<MaskedBatch>>,
    /// Bytes of raw batches that may be in work on all streams together.
    budget: Arc<Semaphore>,
    budget_bytes: u32,
    life: Lifecycle,
}

/// The share of the service that one batch holds until its receipt is on its way.
struct Place {
    _slot: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Streams {
    pub(crate) fn new(
        mask: Mask,
        link: mpsc::Sender<Outgoing<MaskedBatch>>,
        budget_bytes: u32,
        life: Lifecycle,
    ) -> Self {
        let budget = Arc::new(Semaphore::new(usize::try_from(budget_bytes).unwrap_or(usize::MAX)));
        Self { mask: Arc::new(mask), link, budget, budget_bytes, life }
    }

    /// Takes batches until the stream or the service ends or a batch goes wrong, and ends the stream only when every
    /// batch that was taken has been answered.
    async fn serve(
        self,
        mut batches: impl Stream<Item = Result<RawBatch, Status>> + Unpin,
        receipts: Receipts,
    ) {
        let slots = Arc::new(Semaphore::new(usize::try_from(BATCHES_AT_ONCE).unwrap_or(usize::MAX)));
        let (trouble, mut troubles) = mpsc::channel(1);
        let mut end = loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break None };
            let batch = tokio::select! {
                biased;
                () = self.life.draining() => break Some(Status::unavailable("draining")),
                Some(status) = troubles.recv() => break Some(status),
                batch = batches.next() => batch,
            };
            match batch {
                Some(Ok(batch)) => self.start(batch, slot, receipts.clone(), trouble.clone()).await,
                Some(Err(status)) => break Some(status),
                None => break None,
            }
        };
        let all_answered = slots.acquire_many(BATCHES_AT_ONCE).await;
        end = troubles.try_recv().ok().or(end);
        if let Some(status) = end {
            // Nobody is there to be told when this fails.
            receipts.send(Err(status)).await.ok();
        }
        drop(all_answered);
    }

    /// Begins work on a batch as soon as there is memory for it.
    async fn start(
        &self,
        batch: RawBatch,
        slot: OwnedSemaphorePermit,
        receipts: Receipts,
        trouble: mpsc::Sender<Status>,
    ) {
        let bytes =
            u32::try_from(prost::Message::encoded_len(&batch)).unwrap_or(u32::MAX).min(self.budget_bytes);
        let Ok(bytes) = Arc::clone(&self.budget).acquire_many_owned(bytes).await else { return };
        let place = Place { _slot: slot, _bytes: bytes };
        let Self { mask, link, .. } = self.clone();
        let span = batch::span(&batch);
        let work = async move {
            match batch::answer(&mask, &link, batch).await {
                // A client that has gone away gets its records from the queue again.
                Ok(receipt) => drop(receipts.send(Ok(receipt)).await),
                // The first trouble is the one that is told.
                Err(status) => {
                    telemetry::call_failed(&Span::current(), &status);
                    drop(trouble.try_send(status));
                }
            }
            drop(place);
            Ok(())
        };
        self.life.spawn("batch", work.instrument(span));
    }
}

#[tonic::async_trait]
impl Masker for Streams {
    type MaskStream = ReceiverStream<Result<Receipt, Status>>;

    async fn mask(
        &self,
        request: Request<Streaming<RawBatch>>,
    ) -> Result<Response<Self::MaskStream>, Status> {
        let (receipts, stream) = mpsc::channel(usize::try_from(BATCHES_AT_ONCE).unwrap_or(1));
        let serving = self.clone().serve(request.into_inner(), receipts);
        self.life.spawn("stream", async move {
            serving.await;
            Ok(())
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

#[cfg(test)]
mod tests {
    use veilpost_proto::masked::message_id;
    use veilpost_proto::v1::{RawRecord, Reason, Rejection, TraceContext};

    use super::*;
    use crate::policy::model::Policy;
    use crate::transform::hmac_keys::HmacKeys;

    const GOOD: &str = r#"{"user_id":"u"}"#;
    const BAD: &str = "not json";

    /// A stream into a masker whose writer is played by the test.
    struct Played {
        batches: Option<mpsc::Sender<Result<RawBatch, Status>>>,
        receipts: mpsc::Receiver<Result<Receipt, Status>>,
        parcels: mpsc::Receiver<Outgoing<MaskedBatch>>,
        life: Lifecycle,
    }

    impl Played {
        fn start() -> Self {
            let mask = Mask::new(&Policy::load(None).unwrap(), &HmacKeys::default()).unwrap();
            let life = Lifecycle::for_tests();
            let (link, parcels) = mpsc::channel(1);
            let (batches, incoming) = mpsc::channel(16);
            let (outgoing, receipts) = mpsc::channel(4);
            let streams = Streams::new(mask, link, 1 << 20, life.clone());
            life.spawn("stream", async move {
                streams.serve(ReceiverStream::new(incoming), outgoing).await;
                Ok(())
            });
            Self { batches: Some(batches), receipts, parcels, life }
        }

        async fn send(&self, id: u64, bodies: &[&str]) {
            self.send_batch(batch(id, bodies)).await;
        }

        async fn send_batch(&self, batch: RawBatch) {
            self.batches.as_ref().unwrap().send(Ok(batch)).await.unwrap();
        }

        async fn parcel(&mut self) -> Outgoing<MaskedBatch> {
            self.parcels.recv().await.unwrap()
        }

        async fn receipt(&mut self) -> Receipt {
            self.receipts.recv().await.unwrap().unwrap()
        }

        /// How the stream ends: `None` in order.
        async fn end(&mut self) -> Option<Status> {
            let end = self.receipts.recv().await.map(Result::unwrap_err);
            assert!(self.receipts.recv().await.is_none(), "nothing follows the end");
            end
        }

        async fn waits(&mut self) {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert!(self.receipts.try_recv().is_err(), "nothing is sent yet");
        }
    }

    fn batch(id: u64, bodies: &[&str]) -> RawBatch {
        let record = |body: &&str| RawRecord {
            message_id: format!("{id} {body}"),
            body: Some((*body).to_owned().into()),
            ..RawRecord::default()
        };
        RawBatch {
            id,
            pipeline: "q".to_owned(),
            records: bodies.iter().map(record).collect(),
            trace: None,
            ..RawBatch::default()
        }
    }

    fn store(parcel: Outgoing<MaskedBatch>) {
        let outcomes = vec![1; parcel.batch.records.len()];
        parcel.reply.send(Receipt { outcomes, ..Receipt::default() }).unwrap();
    }

    #[tokio::test]
    async fn what_masker_and_writer_say_is_one_receipt_by_position() {
        let mut played = Played::start();
        played.send(7, &[BAD, GOOD, "[]", GOOD, GOOD]).await;
        let parcel = played.parcel().await;
        assert_eq!(parcel.batch.records.len(), 3);
        let too_long =
            Rejection { index: 1, reason: Reason::TextTooLong.into(), detail: "column user_id".to_owned() };
        let receipt = Receipt { batch_id: 1, outcomes: vec![1, 3, 2], rejections: vec![too_long] };
        parcel.reply.send(receipt).unwrap();
        let mut receipt = played.receipt().await;
        assert_eq!((receipt.batch_id, receipt.outcomes), (7, vec![3, 1, 3, 3, 2]));
        receipt.rejections.sort_by_key(|rejection| rejection.index);
        let rejections: Vec<_> =
            receipt.rejections.iter().map(|rejection| (rejection.index, rejection.reason())).collect();
        assert_eq!(rejections, [(0, Reason::NotJson), (2, Reason::NotAnObject), (3, Reason::TextTooLong)]);
    }

    #[tokio::test]
    async fn a_batch_with_nothing_to_store_is_answered_without_the_writer() {
        let mut played = Played::start();
        played.send(1, &[BAD, BAD]).await;
        assert_eq!(played.receipt().await.outcomes, [3, 3]);
        played.send(2, &[]).await;
        assert_eq!(played.receipt().await.outcomes, [0_u8; 0]);
        assert!(played.parcels.try_recv().is_err());
    }

    #[tokio::test]
    async fn pipeline_trace_and_order_travel_on() {
        let mut played = Played::start();
        let trace = Some(TraceContext { traceparent: "00-a-b-01".to_owned(), tracestate: "x=y".to_owned() });
        played.send_batch(RawBatch { trace: trace.clone(), ..batch(1, &[GOOD, BAD, "{}"]) }).await;
        let Outgoing { batch, suspect, .. } = played.parcel().await;
        assert_eq!((batch.pipeline.as_str(), batch.trace, suspect), ("q", trace, false));
        let ids: Vec<_> = batch.records.iter().map(|record| message_id(record)).collect();
        assert_eq!(ids, [format!("1 {GOOD}").as_str(), "1 {}"]);
    }

    #[tokio::test]
    async fn what_the_reader_suspects_goes_on_under_suspicion() {
        for suspect in [true, false] {
            let mut played = Played::start();
            played.send_batch(RawBatch { suspect, ..batch(1, &[GOOD]) }).await;
            assert_eq!(played.parcel().await.suspect, suspect);
        }
    }

    #[tokio::test]
    async fn no_more_than_four_batches_are_in_work_at_once() {
        let mut played = Played::start();
        for id in 0..6 {
            played.send(id, &[GOOD]).await;
        }
        let mut taken = Vec::new();
        for _ in 0..4 {
            taken.push(played.parcel().await);
        }
        played.waits().await;
        assert!(played.parcels.try_recv().is_err(), "a fifth batch was taken");
        store(taken.remove(0));
        played.receipt().await;
        taken.push(played.parcel().await);
    }

    #[tokio::test]
    async fn closing_the_request_side_ends_the_stream_once_all_is_receipted() {
        let mut played = Played::start();
        played.send(1, &[GOOD]).await;
        drop(played.batches.take());
        let parcel = played.parcel().await;
        played.waits().await;
        store(parcel);
        assert_eq!(played.receipt().await.batch_id, 1);
        assert!(played.end().await.is_none());
    }

    #[tokio::test]
    async fn a_drain_answers_what_was_taken_and_takes_nothing_more() {
        let mut played = Played::start();
        played.send(1, &[GOOD]).await;
        let parcel = played.parcel().await;
        played.life.start_drain();
        played.send(2, &[GOOD]).await;
        played.waits().await;
        assert!(played.parcels.try_recv().is_err(), "a batch was taken while draining");
        store(parcel);
        assert_eq!(played.receipt().await.outcomes, [1]);
        let status = played.end().await.unwrap();
        assert_eq!((status.code(), status.message()), (tonic::Code::Unavailable, "draining"));
    }

    #[tokio::test]
    async fn a_dropped_reply_ends_the_stream_after_the_receipts_that_are_there() {
        let mut played = Played::start();
        played.send(1, &[GOOD]).await;
        played.send(2, &[GOOD]).await;
        let (first, second) = (played.parcel().await, played.parcel().await);
        let (dropped, kept) = if message_id(&first.batch.records[0]).starts_with('1') {
            (first, second)
        } else {
            (second, first)
        };
        drop(dropped);
        played.waits().await;
        store(kept);
        assert_eq!(played.receipt().await.batch_id, 2);
        assert_eq!(played.end().await.unwrap().code(), tonic::Code::Unavailable);
    }

    #[tokio::test]
    async fn a_receipt_of_another_length_ends_the_stream() {
        let mut played = Played::start();
        played.send(1, &[GOOD, GOOD]).await;
        let parcel = played.parcel().await;
        parcel.reply.send(Receipt { outcomes: vec![1], ..Receipt::default() }).unwrap();
        assert_eq!(played.end().await.unwrap().code(), tonic::Code::Internal);
    }

    #[tokio::test]
    async fn a_batch_larger_than_all_the_memory_still_passes_when_nothing_else_is_in_work() {
        let mut played = Played::start();
        let body = format!(r#"{{"user_id":"u","x":"{}"}}"#, "x".repeat(2 << 20));
        for id in 1..3 {
            played.send(id, &[&body]).await;
            store(played.parcel().await);
            assert_eq!(played.receipt().await.batch_id, id);
        }
    }

    #[tokio::test]
    async fn a_client_that_goes_away_leaves_nothing_behind() {
        let mut played = Played::start();
        played.send(1, &[GOOD]).await;
        let parcel = played.parcel().await;
        let Played { life, batches, receipts, parcels: _parcels } = played;
        drop((batches, receipts));
        store(parcel);
        tokio::time::timeout(std::time::Duration::from_secs(5), life.tasks_ended()).await.unwrap();
    }
}
