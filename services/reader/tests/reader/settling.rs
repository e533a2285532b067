//! Every outcome settles its message in the right way, whatever fails meanwhile.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_sqs::types::{Message, MessageAttributeValue};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use veilpost_proto::v1::{Outcome, Reason};
use veilpost_testkit::SqsFault;

use crate::harness::{ReaderHarness, eventually, settings};
use crate::masker::{STORED, ScriptedMasker, Verdict};

const REJECTED: Verdict = Verdict::Rejected(Reason::NotJson, "body: not JSON");

fn attribute<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.message_attributes.as_ref()?.get(name)?.string_value.as_deref()
}

#[tokio::test]
async fn stored_and_duplicate_messages_are_deleted() {
    let verdict = |record: &veilpost_proto::v1::RawRecord| match record.body.as_deref() {
        Some(b"again") => Verdict::Is(Outcome::Duplicate),
        _ => STORED,
    };
    let mut harness = ReaderHarness::new(ScriptedMasker::start(verdict).await).await;
    let id = harness.sqs.send(&harness.url, "new").await;
    harness.sqs.send(&harness.url, "again").await;
    harness.read(&[]);
    harness.source_has(0, 0).await;
    let record = harness.masker.records().into_iter().find(|record| record.message_id == id).unwrap();
    assert_eq!(record.body.as_deref(), Some(b"new".as_slice()));
    assert_eq!(record.receive_count, 1);
    assert!(record.sent_timestamp_ms > 1_600_000_000_000);
    assert_eq!(harness.masker.batches()[0].pipeline, "logins");
    harness.dead_has(0).await;
    harness.drain().await;
}

#[tokio::test]
async fn the_producers_trace_context_travels_along() {
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut harness = ReaderHarness::new(ScriptedMasker::start(|_| STORED).await).await;
    let value =
        MessageAttributeValue::builder().data_type("String").string_value(traceparent).build().unwrap();
    let send = harness.sqs.client.send_message().queue_url(&harness.url).message_body("{}");
    send.message_attributes("traceparent", value).send().await.unwrap();
    harness.read(&[]);
    harness.source_has(0, 0).await;
    assert_eq!(harness.masker.records()[0].producer.as_ref().unwrap().traceparent, traceparent);
    harness.drain().await;
}

#[tokio::test]
async fn a_rejected_message_is_in_the_dead_letter_queue_before_it_is_deleted() {
    let mut harness = ReaderHarness::new(ScriptedMasker::start(|_| REJECTED).await).await;
    let value = MessageAttributeValue::builder().data_type("String").string_value("blue").build().unwrap();
    let send = harness.sqs.client.send_message().queue_url(&harness.url).message_body("{oops");
    let id = send.message_attributes("colour", value).send().await.unwrap().message_id.unwrap();
    harness.sqs.break_next(3, "SendMessage", SqsFault::Error(500, "InternalFailure"));
    harness.read(&[]);
    eventually("a failed send", || harness.sqs.calls("SendMessage") > 1).await;
    assert_eq!(harness.sqs.counts(&harness.url).await, (0, 1), "not deleted while it is not safe");
    harness.dead_has(1).await;
    harness.source_has(0, 0).await;
    let dead_letter = harness.sqs.receive(&harness.dead).await.remove(0);
    assert_eq!(dead_letter.body.as_deref(), Some("{oops"));
    assert_eq!(attribute(&dead_letter, "colour"), Some("blue"));
    assert_eq!(attribute(&dead_letter, "veilpost.reason"), Some("not-json"));
    assert_eq!(attribute(&dead_letter, "veilpost.detail"), Some("body: not JSON"));
    assert_eq!(attribute(&dead_letter, "veilpost.message-id"), Some(id.as_str()));
    assert!(
        attribute(&dead_letter, "veilpost.sent-timestamp").unwrap().parse::<i64>().unwrap()
            > 1_600_000_000_000
    );
    harness.drain().await;
}

#[tokio::test]
async fn a_message_rejected_again_after_a_redrive_keeps_its_first_id_and_sent_time() {
    let mut harness = ReaderHarness::new(ScriptedMasker::start(|_| REJECTED).await).await;
    let value =
        |text: &str| MessageAttributeValue::builder().data_type("String").string_value(text).build().unwrap();
    let send = harness.sqs.client.send_message().queue_url(&harness.url).message_body("{oops");
    let send = send.message_attributes("veilpost.message-id", value("first"));
    let send = send.message_attributes("veilpost.sent-timestamp", value("1600000000000"));
    send.message_attributes("veilpost.reason", value("constraint")).send().await.unwrap();
    harness.read(&[]);
    harness.dead_has(1).await;
    let dead_letter = harness.sqs.receive(&harness.dead).await.remove(0);
    assert_eq!(attribute(&dead_letter, "veilpost.message-id"), Some("first"));
    assert_eq!(attribute(&dead_letter, "veilpost.sent-timestamp"), Some("1600000000000"));
    assert_eq!(attribute(&dead_letter, "veilpost.reason"), Some("not-json"));
    harness.drain().await;
}

#[tokio::test]
async fn many_rejected_messages_and_large_ones_all_arrive_in_the_dead_letter_queue() {
    let mut harness = ReaderHarness::new(ScriptedMasker::start(|_| REJECTED).await).await;
    let mut bodies = HashSet::new();
    for number in 0..25 {
        let body = format!("{number}{}", "x".repeat(if number % 5 == 0 { 400_000 } else { 60_000 }));
        harness.sqs.send(&harness.url, &body).await;
        bodies.insert(body);
    }
    harness.sqs.break_next(1, "SendMessageBatch", SqsFault::EntriesRefused);
    harness.read(&[]);
    harness.dead_has(25).await;
    harness.source_has(0, 0).await;
    for _ in 0..3 {
        for dead_letter in harness.sqs.receive(&harness.dead).await {
            assert_eq!(attribute(&dead_letter, "veilpost.reason"), Some("not-json"));
            assert!(bodies.remove(&dead_letter.body.unwrap()), "each once and whole");
        }
    }
    assert!(bodies.is_empty());
    harness.drain().await;
}

#[tokio::test]
async fn a_message_that_the_dead_letter_queue_refuses_for_good_is_left_and_holds_up_nothing() {
    let mut harness = ReaderHarness::new(ScriptedMasker::start(|_| REJECTED).await).await;
    harness.sqs.send(&harness.url, "{oops").await;
    harness.sqs.break_next(1, "SendMessage", SqsFault::Error(400, "InvalidMessageContents"));
    harness.read(&["--visibility-timeout", "2s"]);
    harness.dead_has(1).await;
    harness.source_has(0, 0).await;
    assert_eq!(harness.masker.records().len(), 2, "left once, then delivered again");
    harness.drain().await;
}

#[tokio::test]
async fn while_sends_to_the_dead_letter_queue_are_denied_nothing_is_deleted_and_no_reason_is_lost() {
    let mut harness = ReaderHarness::new(ScriptedMasker::start(|_| REJECTED).await).await;
    harness.url = harness.sqs.create_with_redrive("redriven", "logins-dead", 3).await;
    harness.sqs.send_many(&harness.url, 10).await;
    let sends = ["SendMessage", "SendMessageBatch"];
    for call in sends {
        harness.sqs.break_next(u64::MAX, call, SqsFault::Error(403, "AccessDenied"));
    }
    harness.read(&["--queue", "redriven", "--visibility-timeout", "2s"]);
    let attempts = || sends.iter().map(|call| harness.sqs.calls(call)).sum::<usize>();
    eventually("denied sends", || attempts() > 2).await;
    let (visible, hidden) = harness.sqs.counts(&harness.url).await;
    assert_eq!(visible + hidden, 10, "nothing is deleted");
    harness.dead_has(0).await;
    for call in sends {
        harness.sqs.mend(call);
    }
    harness.dead_has(10).await;
    harness.source_has(0, 0).await;
    for dead_letter in harness.sqs.receive(&harness.dead).await {
        assert_eq!(attribute(&dead_letter, "veilpost.reason"), Some("not-json"));
    }
    harness.drain().await;
}

#[tokio::test]
async fn with_on_reject_leave_a_rejected_message_stays_in_the_queue() {
    let mut harness = ReaderHarness::new(ScriptedMasker::start(|_| REJECTED).await).await;
    harness.sqs.send(&harness.url, "{oops").await;
    harness.read(&["--on-reject", "leave", "--visibility-timeout", "2s"]);
    eventually("a second delivery", || harness.masker.records().len() > 1).await;
    harness.drain().await;
    harness.dead_has(0).await;
    harness.source_has(1, 0).await;
}

#[tokio::test]
async fn without_a_dead_letter_queue_the_redrive_policy_moves_rejected_messages() {
    let mut harness = ReaderHarness::new(ScriptedMasker::start(|_| REJECTED).await).await;
    harness.url = harness.sqs.create_with_redrive("redriven", "logins-dead", 2).await;
    harness.sqs.send(&harness.url, "{oops").await;
    let masker = format!("http://{}", harness.masker.address);
    let mut settings = settings(&masker, &["--queue", "redriven", "--visibility-timeout", "2s"]);
    settings.dead_letter_queue_url = None;
    harness.read_as(settings);
    harness.dead_has(1).await;
    harness.source_has(0, 0).await;
    harness.drain().await;
}

#[tokio::test]
async fn an_unknown_outcome_leaves_the_message_and_it_comes_again() {
    let first = AtomicUsize::new(0);
    let verdict = move |_: &veilpost_proto::v1::RawRecord| match first.fetch_add(1, Ordering::Relaxed) {
        0 => Verdict::Is(Outcome::Unspecified),
        _ => STORED,
    };
    let mut harness = ReaderHarness::new(ScriptedMasker::start(verdict).await).await;
    harness.sqs.send(&harness.url, "{}").await;
    harness.read(&["--visibility-timeout", "2s"]);
    harness.source_has(0, 0).await;
    let counts: Vec<_> = harness.masker.records().iter().map(|record| record.receive_count).collect();
    assert!(counts.len() == 2 && counts[0] == 1 && counts[1] > 1, "{counts:?}");
    harness.drain().await;
}

#[tokio::test]
async fn a_message_undecided_at_its_last_receive_is_dead_lettered_with_its_reason() {
    let verdict = |record: &veilpost_proto::v1::RawRecord| {
        if record.last_receive {
            Verdict::Rejected(Reason::Undecided, "SQLSTATE U0001")
        } else {
            Verdict::Is(Outcome::Unspecified)
        }
    };
    let mut harness = ReaderHarness::new(ScriptedMasker::start(verdict).await).await;
    harness.url = harness.sqs.create_with_redrive("redriven", "logins-dead", 3).await;
    harness.sqs.send(&harness.url, "{}").await;
    harness.read(&["--queue", "redriven", "--visibility-timeout", "2s"]);
    harness.dead_has(1).await;
    harness.source_has(0, 0).await;
    let records = harness.masker.records();
    assert!(records.len() > 1 && records.iter().filter(|record| record.last_receive).count() == 1);
    let dead_letter = harness.sqs.receive(&harness.dead).await.remove(0);
    assert_eq!(attribute(&dead_letter, "veilpost.reason"), Some("undecided"));
    assert_eq!(attribute(&dead_letter, "veilpost.detail"), Some("SQLSTATE U0001"));
    harness.drain().await;
}

/// A masker that answers the first record when the semaphore has a permit, and the others at once.
async fn first_answer_waits(
    gate: &Arc<Semaphore>,
    verdict: fn(&veilpost_proto::v1::RawRecord) -> Verdict,
) -> ScriptedMasker {
    let (gate, first) = (Arc::clone(gate), AtomicUsize::new(0));
    let masker = ScriptedMasker::scripted(move |batch| {
        let waits = first.fetch_add(1, Ordering::Relaxed) == 0;
        let (gate, verdicts) = (Arc::clone(&gate), batch.records.iter().map(verdict).collect());
        Box::pin(async move {
            if waits {
                let _pass = gate.acquire().await;
            }
            verdicts
        })
    });
    masker.await
}

async fn dead_letter_of_a_receive_that_became_the_last(
    verdict: fn(&veilpost_proto::v1::RawRecord) -> Verdict,
) -> (Message, ReaderHarness) {
    let gate = Arc::new(Semaphore::new(0));
    let mut harness = ReaderHarness::new(first_answer_waits(&gate, verdict).await).await;
    harness.url = harness.sqs.create_with_redrive("redriven", "logins-dead", 2).await;
    harness.sqs.send(&harness.url, "{}").await;
    harness.sqs.break_next(1, "ReceiveMessage", SqsFault::Redeliver);
    // One receive at a time, so that the one that meets the fault is the one that brings the message.
    let one = ["--pollers-min", "1", "--pollers-max", "1"];
    harness.read(&[&["--queue", "redriven", "--visibility-timeout", "20s"], one.as_slice()].concat());
    harness.receives_bring(2).await;
    eventually("its first record", || !harness.masker.records().is_empty()).await;
    gate.add_permits(1);
    harness.dead_has(1).await;
    harness.source_has(0, 0).await;
    let told: Vec<_> = harness.masker.records().iter().map(|record| record.last_receive).collect();
    assert_eq!(told, [false, true], "sent again, as the last");
    (harness.sqs.receive(&harness.dead).await.remove(0), harness)
}

#[tokio::test]
async fn a_message_whose_last_receive_comes_after_it_was_sent_is_sent_again_as_the_last() {
    let verdict = |record: &veilpost_proto::v1::RawRecord| {
        if record.last_receive {
            Verdict::Rejected(Reason::Undecided, "SQLSTATE U0001")
        } else {
            Verdict::Is(Outcome::Unspecified)
        }
    };
    let (dead_letter, mut harness) = dead_letter_of_a_receive_that_became_the_last(verdict).await;
    assert_eq!(attribute(&dead_letter, "veilpost.reason"), Some("undecided"));
    assert_eq!(attribute(&dead_letter, "veilpost.detail"), Some("SQLSTATE U0001"));
    harness.drain().await;
}

#[tokio::test]
async fn what_nobody_decides_at_its_last_receive_is_dead_lettered_by_the_reader() {
    let undecided = |_: &veilpost_proto::v1::RawRecord| Verdict::Is(Outcome::Unspecified);
    let (dead_letter, mut harness) = dead_letter_of_a_receive_that_became_the_last(undecided).await;
    assert_eq!(attribute(&dead_letter, "veilpost.reason"), Some("undecided"));
    harness.drain().await;
}

#[tokio::test]
async fn heartbeats_keep_a_message_hidden_for_as_long_as_the_pipeline_takes() {
    let slow = ScriptedMasker::scripted(|_| {
        Box::pin(async {
            sleep(Duration::from_secs(5)).await;
            vec![STORED]
        })
    });
    let mut harness = ReaderHarness::new(slow.await).await;
    harness.sqs.send(&harness.url, "{}").await;
    harness.read(&["--visibility-timeout", "2s"]);
    harness.source_has(0, 0).await;
    assert_eq!(harness.masker.records().len(), 1);
    harness.drain().await;
}

#[tokio::test]
async fn a_second_delivery_of_a_message_in_flight_is_adopted_and_not_sent_again() {
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
    harness.sqs.send(&harness.url, "{}").await;
    let refused = SqsFault::AllEntriesRefused("ReceiptHandleIsInvalid");
    harness.sqs.break_next(2, "ChangeMessageVisibilityBatch", refused);
    harness.read(&["--visibility-timeout", "2s"]);
    harness.receives_bring(2).await;
    gate.add_permits(1);
    harness.source_has(0, 0).await;
    assert_eq!(harness.masker.records().len(), 1, "the second delivery was not sent");
    harness.drain().await;
}

#[tokio::test]
async fn entries_that_a_delete_refuses_are_tried_again() {
    let mut harness = ReaderHarness::new(ScriptedMasker::start(|_| STORED).await).await;
    harness.read(&[]);
    eventually("ready", || harness.lifecycle.is_ready()).await;
    harness.sqs.break_next(4, "DeleteMessageBatch", SqsFault::EntriesRefused);
    for _ in 0..25 {
        harness.sqs.send(&harness.url, "{}").await;
    }
    harness.source_has(0, 0).await;
    assert_eq!(harness.masker.records().len(), 25, "nothing came a second time");
    harness.drain().await;
}

#[tokio::test]
async fn deletes_that_fail_as_a_whole_are_tried_again() {
    let mut harness = ReaderHarness::new(ScriptedMasker::start(|_| STORED).await).await;
    harness.read(&["--visibility-timeout", "2s"]);
    eventually("ready", || harness.lifecycle.is_ready()).await;
    harness.sqs.break_next(6, "DeleteMessageBatch", SqsFault::Error(503, "ServiceUnavailable"));
    harness.sqs.send(&harness.url, "{}").await;
    harness.source_has(0, 0).await;
    assert!(harness.sqs.calls("DeleteMessageBatch") > 6);
    assert_eq!(harness.masker.records().len(), 1, "hidden by heartbeats meanwhile");
    harness.drain().await;
}

#[tokio::test]
async fn a_delete_that_can_never_succeed_is_dropped() {
    let mut harness = ReaderHarness::new(ScriptedMasker::start(|_| STORED).await).await;
    harness.read(&["--visibility-timeout", "2s"]);
    eventually("ready", || harness.lifecycle.is_ready()).await;
    harness.sqs.break_next(1, "DeleteMessageBatch", SqsFault::AllEntriesRefused("ReceiptHandleIsInvalid"));
    harness.sqs.send(&harness.url, "{}").await;
    harness.source_has(0, 0).await;
    assert_eq!(harness.masker.records().len(), 2, "it came again and was deleted then");
    harness.drain().await;
}

#[tokio::test]
async fn what_arrives_while_the_streams_are_busy_goes_as_larger_batches() {
    let masker = ScriptedMasker::scripted(|batch| {
        Box::pin(async move {
            sleep(Duration::from_millis(300)).await;
            vec![STORED; batch.records.len()]
        })
    });
    let mut harness = ReaderHarness::new(masker.await).await;
    for _ in 0..300 {
        harness.sqs.send(&harness.url, "{}").await;
    }
    harness.read(&["--batch-records", "100"]);
    harness.source_has(0, 0).await;
    let sizes: Vec<_> = harness.masker.batches().iter().map(|batch| batch.records.len()).collect();
    assert!(sizes.iter().any(|size| *size > 20), "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= 100), "{sizes:?}");
    harness.drain().await;
}

#[tokio::test]
async fn a_message_delivered_too_often_shares_no_batch_with_others() {
    let mut harness = ReaderHarness::new(ScriptedMasker::start(|_| STORED).await).await;
    harness.sqs.send(&harness.url, "suspect").await;
    for _ in 0..3 {
        assert_eq!(harness.sqs.receive_hidden(&harness.url, 0, 2).await.len(), 1);
    }
    for _ in 0..20 {
        harness.sqs.send(&harness.url, "innocent").await;
    }
    harness.read(&[]);
    harness.source_has(0, 0).await;
    let batches = harness.masker.batches();
    let suspect = |batch: &&veilpost_proto::v1::RawBatch| {
        batch.records.iter().any(|record| record.body.as_deref() == Some(b"suspect"))
    };
    let found = batches.iter().find(suspect).unwrap();
    assert!(found.suspect && found.records.len() == 1);
    harness.drain().await;
}

#[tokio::test]
async fn messages_without_an_id_or_a_handle_end_nothing() {
    let mut harness = ReaderHarness::new(ScriptedMasker::start(|_| STORED).await).await;
    let strange = r#"{"Messages":[{"MessageId":"strange","Body":"{}"},{"Body":"{}"}]}"#;
    harness.sqs.break_next(4, "ReceiveMessage", SqsFault::Answer(strange));
    harness.read(&[]);
    eventually("further receives", || harness.sqs.calls("ReceiveMessage") > 4).await;
    harness.sqs.send(&harness.url, "{}").await;
    harness.source_has(0, 0).await;
    assert!(!harness.lifecycle.is_draining());
    harness.drain().await;
}

#[tokio::test]
async fn a_queue_that_knows_only_the_older_name_of_the_attributes_gives_sent_times_too() {
    let mut harness = ReaderHarness::new(ScriptedMasker::start(|_| STORED).await).await;
    harness.sqs.break_next(1000, "ReceiveMessage", SqsFault::FieldIgnored("MessageSystemAttributeNames"));
    harness.sqs.send(&harness.url, "{}").await;
    harness.read(&[]);
    harness.source_has(0, 0).await;
    let record = harness.masker.records().remove(0);
    assert!(record.sent_timestamp_ms > 1_600_000_000_000);
    assert_eq!(record.receive_count, 1);
    harness.drain().await;
}

#[tokio::test]
async fn rejected_messages_that_are_left_do_not_become_suspects() {
    let mut harness = ReaderHarness::new(ScriptedMasker::start(|_| REJECTED).await).await;
    harness.sqs.send(&harness.url, "{oops").await;
    harness.read(&["--on-reject", "leave", "--visibility-timeout", "2s", "--suspect-after", "1"]);
    eventually("a third delivery", || harness.masker.records().len() > 2).await;
    harness.drain().await;
    assert!(harness.masker.records().iter().any(|record| record.receive_count > 1));
    assert!(harness.masker.batches().iter().all(|batch| !batch.suspect));
}

#[tokio::test]
async fn heartbeats_keep_up_with_a_slow_queue() {
    let slow = ScriptedMasker::scripted(|batch| {
        Box::pin(async move {
            sleep(Duration::from_secs(9)).await;
            vec![STORED; batch.records.len()]
        })
    });
    let mut harness = ReaderHarness::new(slow.await).await;
    for _ in 0..300 {
        harness.sqs.send(&harness.url, "{}").await;
    }
    let pause = SqsFault::Delay(Duration::from_millis(1500));
    harness.sqs.break_next(1000, "ChangeMessageVisibilityBatch", pause);
    harness.read(&["--visibility-timeout", "6s"]);
    harness.source_has(0, 0).await;
    assert_eq!(harness.masker.records().len(), 300, "nothing was delivered a second time");
    harness.drain().await;
}
