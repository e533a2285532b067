//! A reader that was paused for longer than its messages were hidden does no harm afterwards.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::Message;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use veilpost_local::process::{ServiceCommand, ServiceProcess};

use crate::harness::{ReaderHarness, eventually};
use crate::masker::{STORED, ScriptedMasker};

const MESSAGES: usize = 30;

fn start(harness: &ReaderHarness, directory: &std::path::Path) -> ServiceProcess {
    ServiceCommand::new("reader", env!("CARGO_BIN_EXE_veilpost-reader"))
        .arg("--queue", "logins")
        .arg("--dead-letter-queue-url", "logins-dead")
        .arg("--wait-time", "1s")
        .arg("--visibility-timeout", "5s")
        .arg("--downstream", format!("http://{}", harness.masker.address))
        .env("AWS_ENDPOINT_URL", harness.sqs.endpoint())
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .start(directory)
        .unwrap()
}

async fn receive_all(harness: &ReaderHarness) -> Vec<Message> {
    let mut received = Vec::new();
    while received.len() < MESSAGES {
        received.extend(harness.sqs.receive_hidden(&harness.url, 60, 1).await);
    }
    received
}

#[tokio::test]
async fn deletes_with_handles_that_are_no_longer_valid_neither_delete_nor_go_on_for_ever() {
    let gate = Arc::new(Semaphore::new(0));
    let opening = Arc::clone(&gate);
    let masker = ScriptedMasker::scripted(move |batch| {
        let gate = Arc::clone(&opening);
        Box::pin(async move {
            let _pass = gate.acquire().await;
            vec![STORED; batch.records.len()]
        })
    });
    let harness = ReaderHarness::new(masker.await).await;
    for _ in 0..MESSAGES {
        harness.sqs.send(&harness.url, "{}").await;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut reader = start(&harness, directory.path());
    harness.source_has(0, MESSAGES).await;

    let asked = harness.sqs.calls("DeleteMessageBatch");
    reader.child().pause();
    let elsewhere = receive_all(&harness).await;
    gate.add_permits(1);
    reader.child().resume();
    eventually("deletes", || harness.sqs.calls("DeleteMessageBatch") > asked).await;
    sleep(Duration::from_secs(3)).await;
    let deletes = harness.sqs.calls("DeleteMessageBatch") - asked;
    assert!(deletes <= MESSAGES, "{deletes} deletes of {MESSAGES} messages");
    harness.source_has(0, MESSAGES).await;
    reader.ensure_running().unwrap();

    for message in elsewhere {
        let call = harness.sqs.client.change_message_visibility().queue_url(&harness.url);
        let call = call.set_receipt_handle(message.receipt_handle).visibility_timeout(0);
        call.send().await.unwrap();
    }
    harness.source_has(0, 0).await;
    assert_eq!(harness.masker.records().len(), 2 * MESSAGES);
    assert!(reader.stop(Duration::from_secs(20)).await.unwrap().success());
}
