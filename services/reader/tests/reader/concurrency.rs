//! The reader makes as many concurrent calls as the latency of the queue and the rate of messages need.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};
use veilpost_testkit::SqsFault;

use crate::harness::{PATIENCE, ReaderHarness, eventually};
use crate::masker::{STORED, ScriptedMasker};

/// How many batches of ten are sent in a second.
const RATE: u64 = 50;

/// How long the number of receives is watched.
const WATCH: Duration = Duration::from_secs(1);

/// Sends batches of ten at an even rate and counts them, until it is dropped.
async fn send(client: Client, url: String, batches: Arc<AtomicU32>) {
    let entry = |id: usize| {
        SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body("{}").build().unwrap()
    };
    let mut ticks = interval(Duration::from_millis(1000 / RATE));
    loop {
        ticks.tick().await;
        let call =
            client.send_message_batch().queue_url(&url).set_entries(Some((0..10).map(entry).collect()));
        call.send().await.unwrap();
        batches.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits until the number of receives under way is near what Little's law says for full receives of what is
/// sent meanwhile.
async fn littles_law_holds(harness: &ReaderHarness, batches: &AtomicU32, latency: Duration) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (since, before, mut most) = (Instant::now(), batches.load(Ordering::Relaxed), 0);
        while since.elapsed() < WATCH {
            sleep(Duration::from_millis(20)).await;
            most = most.max(harness.sqs.in_flight("ReceiveMessage"));
        }
        let sent = f64::from(batches.load(Ordering::Relaxed) - before);
        let little = sent / since.elapsed().as_secs_f64() * latency.as_secs_f64();
        // What a call takes beyond the latency that it is given depends on the machine.
        let near = little.floor()..=4.0 * little + 6.0;
        if near.contains(&f64::from(u32::try_from(most).unwrap())) {
            return;
        }
        assert!(Instant::now() < deadline, "{latency:?} make {most} receives; Little's law says {little:.1}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_receives_are_under_way_as_littles_law_says_and_one_when_the_queue_is_empty() {
    let mut harness = ReaderHarness::new(ScriptedMasker::start(|_| STORED).await).await;
    harness.read(&["--pollers-min", "1"]);
    for latency in [1, 20, 100] {
        let latency = Duration::from_millis(latency);
        for call in ["ReceiveMessage", "DeleteMessageBatch"] {
            harness.sqs.break_next(u64::MAX, call, SqsFault::Delay(latency));
        }
        let batches = Arc::<AtomicU32>::default();
        let mut sender = JoinSet::new();
        sender.spawn(send(harness.sqs.client.clone(), harness.url.clone(), Arc::clone(&batches)));
        littles_law_holds(&harness, &batches, latency).await;
        sender.shutdown().await;
        harness.source_has(0, 0).await;
        eventually("one long poll is left", || harness.sqs.in_flight("ReceiveMessage") == 1).await;
    }
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
