//! One stream of the masker, between a reader and a writer that the test plays.

use veilpost_proto::masked::message_id;
use veilpost_proto::v1::{RawRecord, Reason, RejectedRecord, Rejection, TraceContext};

use veilpost_proto::v1::MaskedBatch;
use veilpost_runtime::{Acceptance, Outgoing};

use super::*;
use crate::mask::Mask;
use crate::policy::Policy;
use crate::transform::HmacKeys;

const GOOD: &str = r#"{"user_id":"u"}"#;
const BAD: &str = "not json";

/// A stream into a masker; the test plays the reader before it and the writer behind it.
struct FakeNeighbours {
    batches: Option<mpsc::Sender<Result<RawBatch, Status>>>,
    receipts: mpsc::Receiver<Result<Receipt, Status>>,
    to_writer: mpsc::Receiver<Outgoing<MaskedBatch>>,
    life: Lifecycle,
    service: MaskerService,
    /// What the writers say of the policy's table and columns.
    acceptance: watch::Sender<Acceptance>,
}

impl FakeNeighbours {
    fn start() -> Self {
        let mask = Mask::new(&Policy::load(None).unwrap(), &HmacKeys::default()).unwrap();
        let (acceptance, watched) = watch::channel(Acceptance::Accepted);
        let life = Lifecycle::for_tests();
        let (link, to_writer) = mpsc::channel(1);
        let (batches, incoming) = mpsc::channel(16);
        let (outgoing, receipts) = mpsc::channel(4);
        let policy = PolicyInForce { mask, link, acceptance: watched };
        let (_, policy) = watch::channel(Arc::new(policy));
        let service = MaskerService::new(policy, ByteBudget::new(1 << 20), life.clone());
        let serving = service.clone();
        life.spawn("stream", async move {
            serving.serve_stream(ReceiverStream::new(incoming), outgoing, false).await;
            Ok(())
        });
        Self { batches: Some(batches), receipts, to_writer, life, service, acceptance }
    }

    async fn send(&self, id: u64, bodies: &[&str]) {
        self.send_batch(batch(id, bodies)).await;
    }

    async fn send_batch(&self, batch: RawBatch) {
        self.batches.as_ref().unwrap().send(Ok(batch)).await.unwrap();
    }

    async fn next_sent(&mut self) -> Outgoing<MaskedBatch> {
        self.to_writer.recv().await.unwrap()
    }

    async fn receipt(&mut self) -> Receipt {
        self.receipts.recv().await.unwrap().unwrap()
    }

    /// The status with which the stream ends; `None` when it ends without an error.
    async fn end(&mut self) -> Option<Status> {
        let end = self.receipts.recv().await.map(Result::unwrap_err);
        assert!(self.receipts.recv().await.is_none(), "nothing follows the end");
        end
    }

    async fn no_receipt_yet(&mut self) {
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

fn store(sent: Outgoing<MaskedBatch>) {
    let outcomes = vec![1; sent.batch.records.len() + sent.batch.rejected.len()];
    sent.reply.send(Receipt { outcomes, ..Receipt::default() }).unwrap();
}

#[tokio::test]
async fn what_masker_and_writer_say_is_one_receipt_by_position() {
    let mut neighbours = FakeNeighbours::start();
    neighbours.send(7, &[BAD, GOOD, "[]", GOOD, GOOD]).await;
    let sent = neighbours.next_sent().await;
    assert_eq!((sent.batch.records.len(), sent.batch.rejected.len()), (3, 2));
    let rejection = |index: u32, reason: Reason| Rejection {
        index,
        reason: reason.into(),
        detail: "column user_id".to_owned(),
    };
    let claimed =
        sent.batch.rejected.iter().zip(3..).map(|(rejected, index)| rejection(index, rejected.reason()));
    let rejections = [rejection(1, Reason::TextTooLong)].into_iter().chain(claimed).collect();
    let receipt = Receipt { batch_id: 1, outcomes: vec![1, 3, 2, 3, 3], rejections };
    sent.reply.send(receipt).unwrap();
    let mut receipt = neighbours.receipt().await;
    assert_eq!((receipt.batch_id, receipt.outcomes), (7, vec![3, 1, 3, 3, 2]));
    receipt.rejections.sort_by_key(|rejection| rejection.index);
    let rejections: Vec<_> =
        receipt.rejections.iter().map(|rejection| (rejection.index, rejection.reason())).collect();
    assert_eq!(rejections, [(0, Reason::NotJson), (2, Reason::NotAnObject), (3, Reason::TextTooLong)]);
}

#[tokio::test]
async fn a_batch_in_which_everything_is_rejected_goes_to_the_writer_which_may_know_better() {
    let mut neighbours = FakeNeighbours::start();
    neighbours.send(1, &[BAD, BAD]).await;
    let sent = neighbours.next_sent().await;
    assert!(sent.batch.records.is_empty());
    let reasons: Vec<_> = sent.batch.rejected.iter().map(RejectedRecord::reason).collect();
    assert_eq!(reasons, [Reason::NotJson; 2]);
    assert_eq!(sent.batch.rejected[0].message_id, "1 not json");
    sent.reply.send(Receipt { outcomes: vec![3, 2], ..Receipt::default() }).unwrap();
    assert_eq!(neighbours.receipt().await.outcomes, [3, 2]);
}

#[tokio::test]
async fn a_batch_without_records_is_answered_without_the_writer() {
    let mut neighbours = FakeNeighbours::start();
    neighbours.send(2, &[]).await;
    assert_eq!(neighbours.receipt().await.outcomes, [0_u8; 0]);
    assert!(neighbours.to_writer.try_recv().is_err());
}

#[tokio::test]
async fn what_the_queue_will_not_deliver_again_is_known_to_the_writer() {
    for last_receive in [true, false] {
        let mut neighbours = FakeNeighbours::start();
        let mut last = batch(1, &[GOOD]);
        last.records[0].last_receive = last_receive;
        neighbours.send_batch(last).await;
        let sent = neighbours.next_sent().await.batch.decoded().unwrap();
        assert_eq!(sent[0].last_receive, last_receive);
    }
}

#[tokio::test]
async fn a_record_too_large_for_a_batch_is_rejected() {
    let body = format!(r#"{{"user_id":"{}"}}"#, "x".repeat(veilpost_proto::MAX_BATCH_BYTES));
    let mut neighbours = FakeNeighbours::start();
    let mut large = batch(1, &[&body]);
    large.records[0].message_id = "large".to_owned();
    neighbours.send_batch(large).await;
    let sent = neighbours.next_sent().await;
    assert_eq!(sent.batch.rejected[0].reason(), Reason::TooLarge);
}

#[tokio::test]
async fn pipeline_trace_and_order_travel_on() {
    let mut neighbours = FakeNeighbours::start();
    let trace = Some(TraceContext { traceparent: "00-a-b-01".to_owned(), tracestate: "x=y".to_owned() });
    neighbours.send_batch(RawBatch { trace: trace.clone(), ..batch(1, &[GOOD, BAD, "{}"]) }).await;
    let Outgoing { batch, suspect, .. } = neighbours.next_sent().await;
    assert_eq!((batch.pipeline.as_str(), batch.trace, suspect), ("q", trace, false));
    let ids: Vec<_> = batch.records.iter().map(|record| message_id(record)).collect();
    assert_eq!(ids, [format!("1 {GOOD}").as_str(), "1 {}"]);
}

#[tokio::test]
async fn what_the_reader_suspects_goes_on_under_suspicion() {
    for suspect in [true, false] {
        let mut neighbours = FakeNeighbours::start();
        neighbours.send_batch(RawBatch { suspect, ..batch(1, &[GOOD]) }).await;
        assert_eq!(neighbours.next_sent().await.suspect, suspect);
    }
}

#[tokio::test]
async fn no_more_batches_than_the_limit_are_without_a_receipt_at_once() {
    let mut neighbours = FakeNeighbours::start();
    let mut taken = Vec::new();
    for id in 0..BATCHES_AT_ONCE {
        neighbours.send(id.into(), &[GOOD]).await;
        taken.push(neighbours.next_sent().await);
    }
    neighbours.send(BATCHES_AT_ONCE.into(), &[GOOD]).await;
    neighbours.no_receipt_yet().await;
    assert!(neighbours.to_writer.try_recv().is_err(), "one more was taken");
    store(taken.remove(0));
    neighbours.receipt().await;
    taken.push(neighbours.next_sent().await);
}

#[tokio::test]
async fn closing_the_request_side_ends_the_stream_once_all_is_receipted() {
    let mut neighbours = FakeNeighbours::start();
    neighbours.send(1, &[GOOD]).await;
    drop(neighbours.batches.take());
    let sent = neighbours.next_sent().await;
    neighbours.no_receipt_yet().await;
    store(sent);
    assert_eq!(neighbours.receipt().await.batch_id, 1);
    assert!(neighbours.end().await.is_none());
}

#[tokio::test]
async fn a_drain_answers_what_was_taken_and_takes_nothing_more() {
    let mut neighbours = FakeNeighbours::start();
    neighbours.send(1, &[GOOD]).await;
    let sent = neighbours.next_sent().await;
    neighbours.life.start_drain();
    neighbours.send(2, &[GOOD]).await;
    neighbours.no_receipt_yet().await;
    assert!(neighbours.to_writer.try_recv().is_err(), "a batch was taken while draining");
    store(sent);
    assert_eq!(neighbours.receipt().await.outcomes, [1]);
    let status = neighbours.end().await.unwrap();
    assert_eq!((status.code(), status.message()), (tonic::Code::Unavailable, "draining"));
}

#[tokio::test]
async fn a_dropped_reply_ends_the_stream_after_the_receipts_that_are_there() {
    let mut neighbours = FakeNeighbours::start();
    neighbours.send(1, &[GOOD]).await;
    neighbours.send(2, &[GOOD]).await;
    let (first, second) = (neighbours.next_sent().await, neighbours.next_sent().await);
    let (dropped, kept) =
        if message_id(&first.batch.records[0]).starts_with('1') { (first, second) } else { (second, first) };
    drop(dropped);
    neighbours.no_receipt_yet().await;
    store(kept);
    assert_eq!(neighbours.receipt().await.batch_id, 2);
    assert_eq!(neighbours.end().await.unwrap().code(), tonic::Code::Unavailable);
}

#[tokio::test]
async fn a_receipt_of_another_length_ends_the_stream() {
    let mut neighbours = FakeNeighbours::start();
    neighbours.send(1, &[GOOD, GOOD]).await;
    let sent = neighbours.next_sent().await;
    sent.reply.send(Receipt { outcomes: vec![1], ..Receipt::default() }).unwrap();
    assert_eq!(neighbours.end().await.unwrap().code(), tonic::Code::Internal);
}

#[tokio::test]
async fn a_batch_larger_than_all_the_memory_still_passes_when_nothing_else_is_in_work() {
    let mut neighbours = FakeNeighbours::start();
    let body = format!(r#"{{"user_id":"u","x":"{}"}}"#, "x".repeat(2 << 20));
    for id in 1..3 {
        neighbours.send(id, &[&body]).await;
        store(neighbours.next_sent().await);
        assert_eq!(neighbours.receipt().await.batch_id, id);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let mut neighbours = FakeNeighbours::start();
    neighbours.send(1, &[GOOD]).await;
    let sent = neighbours.next_sent().await;
    let FakeNeighbours { life, batches, receipts, to_writer: _to_writer, .. } = neighbours;
    drop((batches, receipts));
    store(sent);
    tokio::time::timeout(std::time::Duration::from_secs(5), life.tasks_ended()).await.unwrap();
}

#[tokio::test]
async fn when_the_writers_refuse_the_target_streams_end_at_once_and_their_batches_are_given_back() {
    let mut neighbours = FakeNeighbours::start();
    neighbours.send(1, &[GOOD]).await;
    let sent = neighbours.next_sent().await;
    neighbours.send(2, &[GOOD]).await;
    neighbours.acceptance.send_replace(Acceptance::Refused("column x does not exist".into()));
    let status = neighbours.end().await.unwrap();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    assert!(status.message().contains("column x does not exist"), "{status:?}");
    assert!(sent.reply.is_closed(), "the link need not send it any more");
    assert!(neighbours.service.policy.borrow().refusal().is_some(), "new streams are refused");
    neighbours.acceptance.send_replace(Acceptance::Accepted);
    assert!(neighbours.service.policy.borrow().refusal().is_none());
}

#[tokio::test]
async fn an_idle_stream_ends_too_when_the_writers_refuse_the_target() {
    let mut neighbours = FakeNeighbours::start();
    neighbours.acceptance.send_replace(Acceptance::Refused("no table".into()));
    assert_eq!(neighbours.end().await.unwrap().code(), tonic::Code::FailedPrecondition);
}

#[tokio::test]
async fn writers_that_are_away_or_have_not_answered_end_no_stream() {
    let mut neighbours = FakeNeighbours::start();
    neighbours.acceptance.send_replace(Acceptance::Unknown);
    neighbours.send(1, &[GOOD]).await;
    neighbours.no_receipt_yet().await;
    store(neighbours.next_sent().await);
    assert_eq!(neighbours.receipt().await.batch_id, 1);
}
