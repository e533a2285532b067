//! The link against scripted maskers: real gRPC over loopback, with peers that end, vanish and break the
//! contract.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake_masker;

use std::time::Duration;

use fake_masker::{FakeMasker, FakeStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Status;
use veilpost_proto::v1::{RawBatch, RawRecord, Receipt};
use veilpost_runtime::{Lifecycle, LinkSettings, Outgoing, ToMasker, run_link};

const TIMEOUT: Duration = Duration::from_secs(20);

/// Longer than a test takes that does not wait for it, and short enough for one that does.
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(5);

/// A running link and its sending end.
struct RunningLink {
    outgoing: mpsc::Sender<Outgoing<RawBatch>>,
    life: Lifecycle,
    running: JoinSet<anyhow::Result<()>>,
}

impl RunningLink {
    fn to(maskers: &[&FakeMasker]) -> Self {
        let settings = LinkSettings {
            downstream: maskers.iter().map(|masker| masker.uri().parse().unwrap()).collect(),
            resolve_interval: Duration::from_millis(100),
            unreceipted_batches: 2,
            receipt_timeout: RECEIPT_TIMEOUT,
        };
        let (outgoing, source) = mpsc::channel(1);
        let life = Lifecycle::for_tests();
        let mut running = JoinSet::new();
        let own_life = life.clone();
        running.spawn(async move { run_link(ToMasker, source, &settings, None, &own_life).await });
        Self { outgoing, life, running }
    }

    async fn send(&self, ids: &[&str]) -> oneshot::Receiver<Receipt> {
        let record = |id: &&str| RawRecord { message_id: (*id).to_owned(), ..RawRecord::default() };
        let batch = RawBatch { records: ids.iter().map(record).collect(), ..RawBatch::default() };
        let (reply, receipt) = oneshot::channel();
        self.outgoing.send(Outgoing { batch, reply, suspect: false }).await.unwrap();
        receipt
    }

    async fn ended(mut self) {
        drop(self.outgoing);
        timeout(TIMEOUT, self.running.join_next()).await.unwrap().unwrap().unwrap().unwrap();
    }
}

async fn outcomes(receipt: oneshot::Receiver<Receipt>) -> Vec<u8> {
    timeout(TIMEOUT, receipt).await.unwrap().unwrap().outcomes
}

fn ids(batch: &RawBatch) -> Vec<&str> {
    batch.records.iter().map(|record| record.message_id.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_in_any_order_reach_the_sender_of_their_batch() {
    let mut masker = FakeMasker::start();
    let link = RunningLink::to(&[&masker]);
    let (first, second) = (link.send(&["a", "b"]).await, link.send(&["c"]).await);
    let mut stream = masker.stream().await;
    let (batch_1, batch_2) = (stream.batch().await, stream.batch().await);
    stream.answer(&batch_2, &[3]).await;
    assert_eq!(outcomes(second).await, [3]);
    stream.answer(&batch_1, &[1, 2]).await;
    assert_eq!(outcomes(first).await, [1, 2]);
    link.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_stream_has_more_unreceipted_batches_than_allowed() {
    let mut masker = FakeMasker::start();
    let link = RunningLink::to(&[&masker]);
    let mut replies = vec![link.send(&["a"]).await, link.send(&["b"]).await, link.send(&["c"]).await];
    let mut stream = masker.stream().await;
    let (first, _second) = (stream.batch().await, stream.batch().await);
    assert!(timeout(Duration::from_millis(200), stream.batch()).await.is_err());
    stream.answer(&first, &[1]).await;
    assert_eq!(ids(&stream.batch().await), ["c"]);
    assert_eq!(outcomes(replies.remove(0)).await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_an_ended_stream_moves_to_the_other_address() {
    let (mut one, mut other) = (FakeMasker::start(), FakeMasker::start());
    let link = RunningLink::to(&[&one, &other]);
    let reply = link.send(&["a"]).await;
    let (mut stream_1, mut stream_2) = (one.stream().await, other.stream().await);
    let (batch, first, mut second) = tokio::select! {
        batch = stream_1.batch() => {
            one.refuse(usize::MAX);
            (batch, stream_1, stream_2)
        }
        batch = stream_2.batch() => {
            other.refuse(usize::MAX);
            (batch, stream_2, stream_1)
        }
    };
    // The ended address takes no new stream: otherwise the batch could go there, since the link may learn
    // later than the masker that the other stream is open.
    first.end(Status::unavailable("draining")).await;
    let again = second.batch().await;
    assert_eq!(ids(&again), ids(&batch));
    second.answer(&again, &[1]).await;
    assert_eq!(outcomes(reply).await, [1]);
    link.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_a_killed_peer_is_sent_again_when_the_peer_is_back() {
    let mut masker = FakeMasker::start();
    let link = RunningLink::to(&[&masker]);
    let reply = link.send(&["a"]).await;
    let mut stream = masker.stream().await;
    stream.batch().await;
    masker.kill();
    let mut masker = masker.restart();
    let mut stream = masker.stream().await;
    let again = stream.batch().await;
    stream.answer(&again, &[1]).await;
    assert_eq!(outcomes(reply).await, [1]);
    link.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_kills_its_receiver_is_left_and_its_neighbours_are_stored() {
    let mut masker = FakeMasker::start();
    let link = RunningLink::to(&[&masker]);
    let reply = link.send(&["good", "poison", "fine"]).await;
    let mut kills = 0;
    let mut answered = 0;
    while answered < 2 {
        let mut stream = masker.stream().await;
        while answered < 2
            && let Some(batch) = stream.next().await
        {
            if ids(&batch).contains(&"poison") {
                masker.kill();
                masker = masker.restart();
                kills += 1;
                break;
            }
            stream.answer(&batch, &[1]).await;
            answered += 1;
        }
    }
    assert_eq!(outcomes(reply).await, [1, 0, 1]);
    assert_eq!(kills, 5, "four times whole, once alone");
    link.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_of_the_wrong_length_breaks_the_stream_and_settles_nothing() {
    let mut masker = FakeMasker::start();
    let link = RunningLink::to(&[&masker]);
    let reply = link.send(&["a", "b"]).await;
    let mut stream = masker.stream().await;
    let batch = stream.batch().await;
    stream.answer(&batch, &[1]).await;
    let mut stream = masker.stream().await;
    let batch = stream.batch().await;
    stream.answer(&batch, &[1, 2]).await;
    assert_eq!(outcomes(reply).await, [1, 2]);
    link.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_stream_carries_no_batch_and_is_tried_again() {
    let mut masker = FakeMasker::start();
    masker.refuse(2);
    let link = RunningLink::to(&[&masker]);
    let reply = link.send(&["a"]).await;
    let mut stream = masker.stream().await;
    let batch = stream.batch().await;
    stream.answer(&batch, &[1]).await;
    assert_eq!(outcomes(reply).await, [1]);
    assert_eq!(masker.refused(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_link_ends_in_a_drain_although_its_downstream_is_away() {
    let mut masker = FakeMasker::start();
    masker.kill();
    let link = RunningLink::to(&[&masker]);
    link.life.start_drain();
    link.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_ends_the_link_and_drops_the_replies_of_unanswered_batches() {
    let mut masker = FakeMasker::start();
    let mut link = RunningLink::to(&[&masker]);
    let reply = link.send(&["a"]).await;
    let mut stream: FakeStream = masker.stream().await;
    stream.batch().await;
    link.life.start_abort();
    timeout(TIMEOUT, link.running.join_next()).await.unwrap().unwrap().unwrap().unwrap();
    assert!(reply.await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_without_a_receipt_in_time_moves_and_the_silent_stream_is_replaced() {
    let (mut one, mut other) = (FakeMasker::start(), FakeMasker::start());
    let link = RunningLink::to(&[&one, &other]);
    let reply = link.send(&["a"]).await;
    let (mut stream_1, mut stream_2) = (one.stream().await, other.stream().await);
    let (silent, answering) = tokio::select! {
        _ = stream_1.batch() => (&mut one, &mut stream_2),
        _ = stream_2.batch() => (&mut other, &mut stream_1),
    };
    let again = answering.batch().await;
    answering.answer(&again, &[1]).await;
    assert_eq!(outcomes(reply).await, [1]);
    silent.stream().await;
    link.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_nobody_waits_for_is_not_sent() {
    let mut masker = FakeMasker::start();
    masker.refuse(1);
    let link = RunningLink::to(&[&masker]);
    drop(link.send(&["abandoned"]).await);
    let reply = link.send(&["a"]).await;
    let mut stream = masker.stream().await;
    let batch = stream.batch().await;
    assert_eq!(ids(&batch), ["a"]);
    stream.answer(&batch, &[1]).await;
    assert_eq!(outcomes(reply).await, [1]);
    link.ended().await;
}
