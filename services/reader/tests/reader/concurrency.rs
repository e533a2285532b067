//! The reader makes as many concurrent calls as the latency of the queue and the rate of messages need.

use std::time::Duration;

use tokio::time::sleep;
use veilpost_testkit::SqsFault;

use crate::harness::{ReaderHarness, eventually};
use crate::masker::{STORED, ScriptedMasker};

/// How many messages wait at the start.
const WAITING: usize = 1500;

/// This many receives under way are more than a few, and carry far less than what waits until they are.
const SEVERAL: usize = 8;

/// How many are right for a rate and a latency is tested where the number is computed, without a clock.
#[tokio::test(flavor = "multi_thread")]
async fn several_receives_are_under_way_while_messages_wait_and_one_when_the_queue_is_empty() {
    let mut harness = ReaderHarness::new(ScriptedMasker::start(|_| STORED).await).await;
    harness.sqs.send_many(&harness.url, WAITING).await;
    harness.sqs.break_next(u64::MAX, "ReceiveMessage", SqsFault::Delay(Duration::from_millis(100)));
    harness.read(&["--pollers-min", "1"]);
    harness.source_has(0, 0).await;
    let most = harness.sqs.most_in_flight("ReceiveMessage");
    assert!(most >= SEVERAL, "{most} receives at most while {WAITING} messages waited");
    eventually("one long poll is left", || harness.sqs.in_flight("ReceiveMessage") == 1).await;
    harness.drain().await;
}

#[tokio::test]
async fn no_more_is_asked_for_than_the_window_has_room_for() {
    let masker = ScriptedMasker::scripted(|batch| {
        Box::pin(async move {
            sleep(Duration::from_millis(100)).await;
            vec![STORED; batch.records.len()]
        })
    });
    let mut harness = ReaderHarness::new(masker.await).await;
    harness.sqs.break_next(u64::MAX, "ReceiveMessage", SqsFault::Delay(Duration::from_millis(20)));
    for _ in 0..300 {
        harness.sqs.send(&harness.url, "{}").await;
    }
    harness.read(&["--pollers-min", "1", "--window-messages", "40"]);
    harness.source_has(0, 0).await;
    assert!(harness.sqs.most_in_flight("ReceiveMessage") <= 4);
    harness.drain().await;
}
