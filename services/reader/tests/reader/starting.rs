//! The reader refuses settings that would do harm, and waits for a queue that is not there yet.

use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use tokio::time::sleep;
use veilpost_reader::{OnReject, Reader};
use veilpost_runtime::{BadSettings, Lifecycle};
use veilpost_testkit::SqsFault;

use crate::harness::{ReaderHarness, eventually, settings};
use crate::masker::{STORED, ScriptedMasker};
use crate::sqs::{Sqs, config};

const NOWHERE: &str = "http://127.0.0.1:9";

async fn refusal(sqs: &Sqs, change: impl FnOnce(&mut veilpost_reader::Settings)) -> String {
    let mut settings = settings(NOWHERE, &[]);
    change(&mut settings);
    let run = Reader::new(settings).unwrap().run_with(&sqs.aws, Lifecycle::for_tests());
    let error = run.await.unwrap_err();
    error.downcast::<BadSettings>().unwrap().to_string()
}

#[tokio::test]
async fn without_a_place_for_rejected_messages_it_refuses_to_start() {
    let sqs = Sqs::start().await;
    sqs.create("logins").await;
    let refusal = refusal(&sqs, |settings| settings.dead_letter_queue_url = None).await;
    assert!(
        refusal.contains("--dead-letter-queue-url") && refusal.contains("--on-reject leave"),
        "{refusal}"
    );
}

#[tokio::test]
async fn the_source_as_its_own_dead_letter_queue_is_refused_however_it_is_named() {
    let sqs = Sqs::start().await;
    let url = sqs.create("logins").await;
    let refusal = refusal(&sqs, |settings| settings.dead_letter_queue_url = Some(url)).await;
    assert!(refusal.contains("itself"), "{refusal}");
}

#[tokio::test]
async fn fifo_queues_are_refused() {
    let sqs = Sqs::start().await;
    let create = sqs.client.create_queue().queue_name("logins.fifo");
    create.attributes(QueueAttributeName::FifoQueue, "true").send().await.unwrap();
    let refusal = refusal(&sqs, |settings| settings.queue = "logins.fifo".to_owned()).await;
    assert!(refusal.contains("FIFO"), "{refusal}");
}

#[tokio::test]
async fn a_queue_with_a_redrive_policy_needs_no_other_dead_letter_queue() {
    let mut harness = ReaderHarness::new(ScriptedMasker::start(|_| STORED).await).await;
    harness.sqs.create_with_redrive("redriven", "logins-dead", 3).await;
    let mut settings = settings(NOWHERE, &["--queue", "redriven"]);
    settings.dead_letter_queue_url = None;
    assert_eq!(settings.on_reject, OnReject::DeadLetter);
    harness.read_as(settings);
    eventually("ready", || harness.lifecycle.is_ready()).await;
    harness.drain().await;
}

#[tokio::test]
async fn a_missing_queue_is_waited_for_without_haste_and_not_ready() {
    let mut harness = ReaderHarness::new(ScriptedMasker::start(|_| STORED).await).await;
    harness.read(&["--queue", "late"]);
    sleep(Duration::from_secs(2)).await;
    assert!(!harness.lifecycle.is_ready());
    let tries = harness.sqs.calls("GetQueueUrl");
    assert!((2..20).contains(&tries), "{tries} tries in 2 s");
    harness.url = harness.sqs.create("late").await;
    harness.sqs.send(&harness.url, "{}").await;
    harness.source_has(0, 0).await;
    assert!(harness.lifecycle.is_ready());
    harness.drain().await;
}

#[tokio::test]
async fn a_drain_ends_the_wait_for_an_endpoint_that_is_not_there() {
    let lifecycle = Lifecycle::for_tests();
    let aws = config("http://127.0.0.1:9").await;
    let reading = Reader::new(settings(NOWHERE, &[])).unwrap().run_with(&aws, lifecycle.clone());
    let drain = async {
        sleep(Duration::from_millis(700)).await;
        assert!(!lifecycle.is_ready());
        lifecycle.start_drain();
    };
    let (result, ()) = tokio::join!(reading, drain);
    result.unwrap();
}

#[tokio::test]
async fn refused_credentials_are_waited_out() {
    let mut harness = ReaderHarness::new(ScriptedMasker::start(|_| STORED).await).await;
    harness.sqs.break_next(3, "GetQueueUrl", SqsFault::Error(403, "InvalidClientTokenId"));
    harness.read(&[]);
    eventually("ready", || harness.lifecycle.is_ready()).await;
    assert!(harness.sqs.calls("GetQueueUrl") > 3);
    harness.drain().await;
}

#[tokio::test]
async fn without_permission_to_hide_or_delete_messages_nothing_is_received_until_it_is_given() {
    for call in ["ChangeMessageVisibilityBatch", "DeleteMessageBatch"] {
        let mut harness = ReaderHarness::new(ScriptedMasker::start(|_| STORED).await).await;
        harness.sqs.break_next(3, call, SqsFault::Error(403, "AccessDenied"));
        harness.sqs.send(&harness.url, "{}").await;
        harness.read(&[]);
        eventually("a second question", || harness.sqs.calls(call) > 1).await;
        assert!(!harness.lifecycle.is_ready() && harness.sqs.calls("ReceiveMessage") == 0);
        harness.source_has(0, 0).await;
        harness.drain().await;
    }
}

#[tokio::test]
async fn failing_receives_back_off_and_recover() {
    let mut harness = ReaderHarness::new(ScriptedMasker::start(|_| STORED).await).await;
    harness.sqs.break_next(12, "ReceiveMessage", SqsFault::Error(500, "InternalFailure"));
    harness.read(&[]);
    sleep(Duration::from_secs(1)).await;
    let calls = harness.sqs.calls("ReceiveMessage");
    assert!((2..=30).contains(&calls), "{calls} receives in a second");
    harness.sqs.send(&harness.url, "{}").await;
    harness.source_has(0, 0).await;
    harness.drain().await;
}
