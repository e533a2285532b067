//! After a drain nothing is hidden and nothing is lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use veilpost_proto::v1::Outcome;
use veilpost_testkit::SqsFault;

use crate::harness::{ReaderHarness, eventually};
use crate::masker::{STORED, ScriptedMasker, Verdict};

#[tokio::test]
async fn a_drain_under_load_settles_what_is_in_flight_and_hides_nothing() {
    let gate = Arc::new(Semaphore::new(0));
    let opening = Arc::clone(&gate);
    let masker = ScriptedMasker::scripted(move |batch| {
        let gate = Arc::clone(&opening);
        Box::pin(async move {
            let _pass = gate.acquire().await;
            vec![STORED; batch.records.len()]
        })
    });
    let mut harness = ReaderHarness::new(masker.await).await;
    for _ in 0..150 {
        harness.sqs.send(&harness.url, "{}").await;
    }
    harness.read(&["--window-messages", "60"]);
    eventually("messages in flight", || !harness.masker.records().is_empty()).await;
    harness.lifecycle.start_drain();
    sleep(Duration::from_millis(200)).await;
    gate.add_permits(1);
    harness.ended().await.unwrap();
    let (visible, hidden) = harness.sqs.counts(&harness.url).await;
    assert_eq!(hidden, 0);
    assert_eq!(visible + harness.masker.records().len(), 150);
    assert!(visible >= 90, "nothing beyond the window was taken");
}

#[tokio::test]
async fn what_would_be_left_is_given_back_in_a_drain() {
    let gate = Arc::new(Semaphore::new(0));
    let opening = Arc::clone(&gate);
    let masker = ScriptedMasker::scripted(move |batch| {
        let gate = Arc::clone(&opening);
        Box::pin(async move {
            let _pass = gate.acquire().await;
            vec![Verdict::Is(Outcome::Unspecified); batch.records.len()]
        })
    });
    let mut harness = ReaderHarness::new(masker.await).await;
    harness.sqs.send(&harness.url, "{}").await;
    harness.read(&[]);
    harness.source_has(0, 1).await;
    harness.lifecycle.start_drain();
    gate.add_permits(1);
    harness.ended().await.unwrap();
    harness.source_has(1, 0).await;
}

#[tokio::test]
async fn what_a_masker_never_answers_for_is_given_back_at_the_abort() {
    let silent = ScriptedMasker::scripted(|_| Box::pin(std::future::pending()));
    let mut harness = ReaderHarness::new(silent.await).await;
    for _ in 0..45 {
        harness.sqs.send(&harness.url, "{}").await;
    }
    harness.read(&[]);
    harness.source_has(0, 45).await;
    harness.lifecycle.start_drain();
    let early = timeout(Duration::from_millis(1500), harness.ended()).await;
    assert!(early.is_err(), "a drain waits for receipts");
    harness.lifecycle.start_abort();
    harness.ended().await.unwrap();
    harness.source_has(45, 0).await;
}

#[tokio::test]
async fn without_any_masker_a_drain_gives_everything_back_at_the_abort() {
    let gone = ScriptedMasker::start(|_| STORED).await;
    let mut harness = ReaderHarness::new(gone).await;
    harness.sqs.send(&harness.url, "{}").await;
    harness.read(&["--downstream", "http://127.0.0.1:9"]);
    harness.source_has(0, 1).await;
    harness.lifecycle.start_abort();
    harness.ended().await.unwrap();
    harness.source_has(1, 0).await;
}

#[tokio::test]
async fn an_idle_reader_drains_when_its_long_polls_return() {
    let mut harness = ReaderHarness::new(ScriptedMasker::start(|_| STORED).await).await;
    harness.read(&["--wait-time", "2s"]);
    eventually("ready", || harness.lifecycle.is_ready()).await;
    eventually("polls", || harness.sqs.calls("ReceiveMessage") == 2).await;
    let began = Instant::now();
    harness.lifecycle.start_drain();
    sleep(Duration::from_millis(200)).await;
    harness.sqs.send(&harness.url, "late").await;
    harness.ended().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(4));
    assert_eq!(harness.sqs.counts(&harness.url).await, (0, 0), "what a poll under way brings is processed");
    assert_eq!(harness.masker.records().len(), 1);
}

#[tokio::test]
async fn a_queue_that_no_longer_answers_does_not_hold_up_the_end() {
    let mut harness = ReaderHarness::new(ScriptedMasker::start(|_| STORED).await).await;
    harness.read(&["--wait-time", "20s"]);
    eventually("ready", || harness.lifecycle.is_ready()).await;
    let never = SqsFault::Delay(Duration::from_mins(10));
    for call in ["DeleteMessageBatch", "ChangeMessageVisibilityBatch"] {
        harness.sqs.break_next(1000, call, never);
    }
    harness.sqs.send(&harness.url, "{}").await;
    eventually("a delete under way", || harness.sqs.in_flight("DeleteMessageBatch") > 0).await;
    harness.sqs.break_next(1000, "ReceiveMessage", never);
    sleep(Duration::from_millis(1500)).await;
    harness.lifecycle.start_abort();
    let ended = timeout(Duration::from_millis(3500), harness.ended()).await;
    ended.expect("in time for the end of the grace period").unwrap();
}
