//! Each outcome ends in what it stands for, whatever fails on the way.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_sqs::types::{Message, MessageAttributeValue};
use tokio::time::sleep;
use veilpost_proto::v1::{Outcome, Reason};

use crate::harness::{Bench, eventually, settings};
use crate::masker::{STORED, ScriptedMasker, Verdict};
use crate::sqs::Fault;

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
    let mut bench = Bench::new(ScriptedMasker::start(verdict).await).await;
    let id = bench.sqs.send(&bench.url, "new").await;
    bench.sqs.send(&bench.url, "again").await;
    bench.read(&[]);
    bench.source_has(0, 0).await;
    let record = bench.masker.records().into_iter().find(|record| record.message_id == id).unwrap();
    assert_eq!(record.body.as_deref(), Some(b"new".as_slice()));
    assert_eq!(record.receive_count, 1);
    assert!(record.sent_timestamp_ms > 1_600_000_000_000);
    assert_eq!(bench.masker.batches()[0].pipeline, "logins");
    bench.dead_has(0).await;
    bench.drain().await;
}

#[tokio::test]
async fn the_producers_trace_context_travels_along() {
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut bench = Bench::new(ScriptedMasker::start(|_| STORED).await).await;
    let value =
        MessageAttributeValue::builder().data_type("String").string_value(traceparent).build().unwrap();
    let send = bench.sqs.client.send_message().queue_url(&bench.url).message_body("{}");
    send.message_attributes("traceparent", value).send().await.unwrap();
    bench.read(&[]);
    bench.source_has(0, 0).await;
    assert_eq!(bench.masker.records()[0].producer.as_ref().unwrap().traceparent, traceparent);
    bench.drain().await;
}

#[tokio::test]
async fn a_rejected_message_is_in_the_dead_letter_queue_before_it_is_deleted() {
    let mut bench = Bench::new(ScriptedMasker::start(|_| REJECTED).await).await;
    let value = MessageAttributeValue::builder().data_type("String").string_value("blue").build().unwrap();
    let send = bench.sqs.client.send_message().queue_url(&bench.url).message_body("{oops");
    let id = send.message_attributes("colour", value).send().await.unwrap().message_id.unwrap();
    bench.sqs.break_next(3, "SendMessage", Fault::Fails(500, "InternalFailure"));
    bench.read(&[]);
    eventually("a failed send", || bench.sqs.calls("SendMessage") > 1).await;
    assert_eq!(bench.sqs.counts(&bench.url).await, (0, 1), "not deleted while it is not safe");
    bench.dead_has(1).await;
    bench.source_has(0, 0).await;
    let letter = bench.sqs.receive(&bench.dead).await.remove(0);
    assert_eq!(letter.body.as_deref(), Some("{oops"));
    assert_eq!(attribute(&letter, "colour"), Some("blue"));
    assert_eq!(attribute(&letter, "veilpost.reason"), Some("not-json"));
    assert_eq!(attribute(&letter, "veilpost.detail"), Some("body: not JSON"));
    assert_eq!(attribute(&letter, "veilpost.message-id"), Some(id.as_str()));
    assert!(
        attribute(&letter, "veilpost.sent-timestamp").unwrap().parse::<i64>().unwrap() > 1_600_000_000_000
    );
    bench.drain().await;
}

#[tokio::test]
async fn a_message_rejected_again_after_a_redrive_keeps_its_first_id_and_sent_time() {
    let mut bench = Bench::new(ScriptedMasker::start(|_| REJECTED).await).await;
    let value =
        |text: &str| MessageAttributeValue::builder().data_type("String").string_value(text).build().unwrap();
    let send = bench.sqs.client.send_message().queue_url(&bench.url).message_body("{oops");
    let send = send.message_attributes("veilpost.message-id", value("first"));
    let send = send.message_attributes("veilpost.sent-timestamp", value("1600000000000"));
    send.message_attributes("veilpost.reason", value("constraint")).send().await.unwrap();
    bench.read(&[]);
    bench.dead_has(1).await;
    let letter = bench.sqs.receive(&bench.dead).await.remove(0);
    assert_eq!(attribute(&letter, "veilpost.message-id"), Some("first"));
    assert_eq!(attribute(&letter, "veilpost.sent-timestamp"), Some("1600000000000"));
    assert_eq!(attribute(&letter, "veilpost.reason"), Some("not-json"));
    bench.drain().await;
}

#[tokio::test]
async fn many_rejected_messages_and_large_ones_all_arrive_in_the_dead_letter_queue() {
    let mut bench = Bench::new(ScriptedMasker::start(|_| REJECTED).await).await;
    let mut bodies = HashSet::new();
    for number in 0..25 {
        let body = format!("{number}{}", "x".repeat(if number % 5 == 0 { 400_000 } else { 60_000 }));
        bench.sqs.send(&bench.url, &body).await;
        bodies.insert(body);
    }
    bench.sqs.break_next(1, "SendMessageBatch", Fault::RefusesEverySecond);
    bench.read(&[]);
    bench.dead_has(25).await;
    bench.source_has(0, 0).await;
    for _ in 0..3 {
        for letter in bench.sqs.receive(&bench.dead).await {
            assert_eq!(attribute(&letter, "veilpost.reason"), Some("not-json"));
            assert!(bodies.remove(&letter.body.unwrap()), "each once and whole");
        }
    }
    assert!(bodies.is_empty());
    bench.drain().await;
}

#[tokio::test]
async fn a_message_that_the_dead_letter_queue_refuses_for_good_is_left_and_holds_up_nothing() {
    let mut bench = Bench::new(ScriptedMasker::start(|_| REJECTED).await).await;
    bench.sqs.send(&bench.url, "{oops").await;
    bench.sqs.break_next(1, "SendMessage", Fault::Fails(400, "InvalidMessageContents"));
    bench.read(&["--visibility-timeout", "2s"]);
    bench.dead_has(1).await;
    bench.source_has(0, 0).await;
    assert_eq!(bench.masker.records().len(), 2, "left once, then delivered again");
    bench.drain().await;
}

#[tokio::test]
async fn with_on_reject_leave_a_rejected_message_stays_in_the_queue() {
    let mut bench = Bench::new(ScriptedMasker::start(|_| REJECTED).await).await;
    bench.sqs.send(&bench.url, "{oops").await;
    bench.read(&["--on-reject", "leave", "--visibility-timeout", "2s"]);
    eventually("a second delivery", || bench.masker.records().len() > 1).await;
    bench.drain().await;
    bench.dead_has(0).await;
    bench.source_has(1, 0).await;
}

#[tokio::test]
async fn without_a_dead_letter_queue_the_redrive_policy_moves_rejected_messages() {
    let mut bench = Bench::new(ScriptedMasker::start(|_| REJECTED).await).await;
    bench.url = bench.sqs.create_with_redrive("redriven", "logins-dead", 2).await;
    bench.sqs.send(&bench.url, "{oops").await;
    let masker = format!("http://{}", bench.masker.address);
    let mut settings = settings(&masker, &["--queue", "redriven", "--visibility-timeout", "2s"]);
    settings.dead_letter_queue_url = None;
    bench.read_as(settings);
    bench.dead_has(1).await;
    bench.source_has(0, 0).await;
    bench.drain().await;
}

#[tokio::test]
async fn an_unknown_outcome_leaves_the_message_and_it_comes_again() {
    let first = AtomicUsize::new(0);
    let verdict = move |_: &veilpost_proto::v1::RawRecord| match first.fetch_add(1, Ordering::Relaxed) {
        0 => Verdict::Is(Outcome::Unspecified),
        _ => STORED,
    };
    let mut bench = Bench::new(ScriptedMasker::start(verdict).await).await;
    bench.sqs.send(&bench.url, "{}").await;
    bench.read(&["--visibility-timeout", "2s"]);
    bench.source_has(0, 0).await;
    let counts: Vec<_> = bench.masker.records().iter().map(|record| record.receive_count).collect();
    assert!(counts.len() == 2 && counts[0] == 1 && counts[1] > 1, "{counts:?}");
    bench.drain().await;
}

#[tokio::test]
async fn heartbeats_keep_a_message_hidden_for_as_long_as_the_pipeline_takes() {
    let slow = ScriptedMasker::scripted(|_| {
        Box::pin(async {
            sleep(Duration::from_secs(5)).await;
            vec![STORED]
        })
    });
    let mut bench = Bench::new(slow.await).await;
    bench.sqs.send(&bench.url, "{}").await;
    bench.read(&["--visibility-timeout", "2s"]);
    bench.source_has(0, 0).await;
    assert_eq!(bench.masker.records().len(), 1);
    bench.drain().await;
}

#[tokio::test]
async fn the_same_message_twice_in_flight_is_settled_twice_and_gone() {
    let count = AtomicUsize::new(0);
    let masker = ScriptedMasker::scripted(move |batch| {
        let first = count.fetch_add(1, Ordering::Relaxed) == 0;
        Box::pin(async move {
            let pause = if first { Duration::from_secs(5) } else { Duration::from_millis(500) };
            sleep(pause).await;
            vec![STORED; batch.records.len()]
        })
    });
    let mut bench = Bench::new(masker.await).await;
    bench.sqs.break_next(1000, "ChangeMessageVisibilityBatch", Fault::RefusesAll("ReceiptHandleIsInvalid"));
    bench.sqs.send(&bench.url, "{}").await;
    bench.read(&["--visibility-timeout", "2s"]);
    eventually("a second delivery", || bench.masker.records().len() == 2).await;
    bench.drain().await;
    let ids: HashSet<_> = bench.masker.records().into_iter().map(|record| record.message_id).collect();
    assert_eq!(ids.len(), 1);
    bench.source_has(0, 0).await;
    assert!(bench.sqs.calls("ChangeMessageVisibilityBatch") <= 2, "one that cannot be extended is forgotten");
}

#[tokio::test]
async fn entries_that_a_delete_refuses_are_tried_again() {
    let mut bench = Bench::new(ScriptedMasker::start(|_| STORED).await).await;
    for _ in 0..25 {
        bench.sqs.send(&bench.url, "{}").await;
    }
    bench.sqs.break_next(4, "DeleteMessageBatch", Fault::RefusesEverySecond);
    bench.read(&[]);
    bench.source_has(0, 0).await;
    assert_eq!(bench.masker.records().len(), 25, "nothing came a second time");
    bench.drain().await;
}

#[tokio::test]
async fn deletes_that_fail_as_a_whole_are_tried_again() {
    let mut bench = Bench::new(ScriptedMasker::start(|_| STORED).await).await;
    bench.sqs.send(&bench.url, "{}").await;
    bench.sqs.break_next(6, "DeleteMessageBatch", Fault::Fails(503, "ServiceUnavailable"));
    bench.read(&["--visibility-timeout", "2s"]);
    bench.source_has(0, 0).await;
    assert!(bench.sqs.calls("DeleteMessageBatch") > 6);
    assert_eq!(bench.masker.records().len(), 1, "hidden by heartbeats meanwhile");
    bench.drain().await;
}

#[tokio::test]
async fn a_delete_that_can_never_succeed_is_dropped() {
    let mut bench = Bench::new(ScriptedMasker::start(|_| STORED).await).await;
    bench.sqs.send(&bench.url, "{}").await;
    bench.sqs.break_next(1, "DeleteMessageBatch", Fault::RefusesAll("ReceiptHandleIsInvalid"));
    bench.read(&["--visibility-timeout", "2s"]);
    bench.source_has(0, 0).await;
    assert_eq!(bench.masker.records().len(), 2, "it came again and was deleted then");
    bench.drain().await;
}

#[tokio::test]
async fn what_arrives_while_the_streams_are_busy_goes_as_larger_batches() {
    let masker = ScriptedMasker::scripted(|batch| {
        Box::pin(async move {
            sleep(Duration::from_millis(300)).await;
            vec![STORED; batch.records.len()]
        })
    });
    let mut bench = Bench::new(masker.await).await;
    for _ in 0..300 {
        bench.sqs.send(&bench.url, "{}").await;
    }
    bench.read(&["--batch-records", "100"]);
    bench.source_has(0, 0).await;
    let sizes: Vec<_> = bench.masker.batches().iter().map(|batch| batch.records.len()).collect();
    assert!(sizes.iter().any(|size| *size > 20), "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= 100), "{sizes:?}");
    bench.drain().await;
}

#[tokio::test]
async fn a_message_delivered_too_often_shares_no_batch_with_others() {
    let mut bench = Bench::new(ScriptedMasker::start(|_| STORED).await).await;
    bench.sqs.send(&bench.url, "suspect").await;
    for _ in 0..3 {
        assert_eq!(bench.sqs.receive_hidden(&bench.url, 0, 2).await.len(), 1);
    }
    for _ in 0..20 {
        bench.sqs.send(&bench.url, "innocent").await;
    }
    bench.read(&[]);
    bench.source_has(0, 0).await;
    let batches = bench.masker.batches();
    let suspect = |batch: &&veilpost_proto::v1::RawBatch| {
        batch.records.iter().any(|record| record.body.as_deref() == Some(b"suspect"))
    };
    let found = batches.iter().find(suspect).unwrap();
    assert!(found.suspect && found.records.len() == 1);
    bench.drain().await;
}

#[tokio::test]
async fn messages_without_an_id_or_a_handle_end_nothing() {
    let mut bench = Bench::new(ScriptedMasker::start(|_| STORED).await).await;
    let strange = r#"{"Messages":[{"MessageId":"strange","Body":"{}"},{"Body":"{}"}]}"#;
    bench.sqs.break_next(4, "ReceiveMessage", Fault::Says(strange));
    bench.read(&[]);
    eventually("further receives", || bench.sqs.calls("ReceiveMessage") > 4).await;
    bench.sqs.send(&bench.url, "{}").await;
    bench.source_has(0, 0).await;
    assert!(!bench.lifecycle.is_draining());
    bench.drain().await;
}

#[tokio::test]
async fn a_queue_that_knows_only_the_older_name_of_the_attributes_gives_sent_times_too() {
    let mut bench = Bench::new(ScriptedMasker::start(|_| STORED).await).await;
    bench.sqs.break_next(1000, "ReceiveMessage", Fault::Ignores("MessageSystemAttributeNames"));
    bench.sqs.send(&bench.url, "{}").await;
    bench.read(&[]);
    bench.source_has(0, 0).await;
    let record = bench.masker.records().remove(0);
    assert!(record.sent_timestamp_ms > 1_600_000_000_000);
    assert_eq!(record.receive_count, 1);
    bench.drain().await;
}

#[tokio::test]
async fn rejected_messages_that_are_left_do_not_become_suspects() {
    let mut bench = Bench::new(ScriptedMasker::start(|_| REJECTED).await).await;
    bench.sqs.send(&bench.url, "{oops").await;
    bench.read(&["--on-reject", "leave", "--visibility-timeout", "2s", "--suspect-after", "1"]);
    eventually("a third delivery", || bench.masker.records().len() > 2).await;
    bench.drain().await;
    assert!(bench.masker.records().iter().any(|record| record.receive_count > 1));
    assert!(bench.masker.batches().iter().all(|batch| !batch.suspect));
}

#[tokio::test]
async fn heartbeats_keep_up_with_a_slow_queue() {
    let slow = ScriptedMasker::scripted(|batch| {
        Box::pin(async move {
            sleep(Duration::from_secs(9)).await;
            vec![STORED; batch.records.len()]
        })
    });
    let mut bench = Bench::new(slow.await).await;
    for _ in 0..300 {
        bench.sqs.send(&bench.url, "{}").await;
    }
    let pause = Fault::Delays(Duration::from_millis(1500));
    bench.sqs.break_next(1000, "ChangeMessageVisibilityBatch", pause);
    bench.read(&["--visibility-timeout", "6s"]);
    bench.source_has(0, 0).await;
    assert_eq!(bench.masker.records().len(), 300, "nothing was delivered a second time");
    bench.drain().await;
}
