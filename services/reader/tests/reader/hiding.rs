//! While messages in flight cannot be kept hidden, nothing is received, and none is moved by SQS.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::sleep;
use veilpost_testkit::SqsFault;

use crate::harness::{ReaderHarness, eventually, settings};
use crate::masker::{STORED, ScriptedMasker};

const EXTEND: &str = "ChangeMessageVisibilityBatch";
const MESSAGES: usize = 100;

/// A masker that answers nothing until the semaphore has a permit.
async fn gated() -> (ScriptedMasker, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let opening = Arc::clone(&gate);
    let masker = ScriptedMasker::scripted(move |batch| {
        let gate = Arc::clone(&opening);
        Box::pin(async move {
            let _pass = gate.acquire().await;
            vec![STORED; batch.records.len()]
        })
    });
    (masker.await, gate)
}

async fn nothing_is_moved_while_extensions_meet(fault: SqsFault) {
    let (masker, gate) = gated().await;
    let mut harness = ReaderHarness::new(masker).await;
    harness.url = harness.sqs.create_with_redrive("redriven", "logins-dead", 3).await;
    let masker = format!("http://{}", harness.masker.address);
    let more = ["--queue", "redriven", "--visibility-timeout", "4s", "--pollers-min", "8"];
    harness.read_as(settings(&masker, &more));
    eventually("ready", || harness.lifecycle.is_ready()).await;
    harness.sqs.send_many(&harness.url, MESSAGES).await;
    harness.receives_bring(MESSAGES).await;
    let before = harness.sqs.calls(EXTEND);
    harness.sqs.break_next(u64::MAX, EXTEND, fault);
    // Enough visibility timeouts to use up three receives, and more.
    sleep(Duration::from_secs(20)).await;
    let (receives, extensions) = (harness.sqs.calls("ReceiveMessage"), harness.sqs.calls(EXTEND) - before);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(harness.sqs.calls("ReceiveMessage"), receives, "receiving has stopped");
    assert!(extensions < 80, "{extensions} attempts to extend in 20 s");
    assert!(harness.masker.records().len() <= MESSAGES, "nothing was sent a second time");
    harness.sqs.mend(EXTEND);
    gate.add_permits(1);
    harness.source_has(0, 0).await;
    harness.dead_has(0).await;
    let mut ids: Vec<_> = harness.masker.records().into_iter().map(|record| record.message_id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), MESSAGES);
    harness.sqs.send(&harness.url, "{}").await;
    harness.source_has(0, 0).await;
    harness.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_extensions_stop_receiving() {
    nothing_is_moved_while_extensions_meet(SqsFault::Error(403, "AccessDenied")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn extensions_that_hang_stop_receiving() {
    nothing_is_moved_while_extensions_meet(SqsFault::Hang(Duration::from_mins(1))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_fail_stop_receiving() {
    nothing_is_moved_while_extensions_meet(SqsFault::AllEntriesRefused("AccessDenied")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_that_are_refused_again_and_again_stop_receiving() {
    nothing_is_moved_while_extensions_meet(SqsFault::AllEntriesRefused("ReceiptHandleIsInvalid")).await;
}
