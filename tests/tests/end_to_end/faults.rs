//! Processes and servers that end at the worst moment: nothing lost, nothing twice, nothing left hidden.

use std::time::Duration;

use veilpost_tests::{Gate, SqsGate, Stack, eventually};

const SHORT: (&str, &str) = ("--visibility-timeout", "5s");

async fn all_stored_once(stack: &mut Stack, count: i64) {
    stack.queue_is_empty().await.unwrap();
    assert_eq!(stack.rows().await.unwrap(), count);
    assert_eq!(stack.count("SELECT count(DISTINCT user_id) FROM user_logins").await.unwrap(), count);
    assert_eq!(stack.count("SELECT count(*) FROM veilpost.ledger").await.unwrap(), count);
    assert_eq!(stack.depth(&stack.pair.dead_letter_url).await.unwrap(), (0, 0));
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_masker_killed_mid_stream_loses_nothing() {
    let mut stack = Stack::bare().await.unwrap();
    stack.start_writer(&[]).await.unwrap();
    let address = stack.start_masker(&[]).await.unwrap().to_string();
    stack.start_reader(&[("--batch-records", "20")]).await.unwrap();
    stack.send_logins("user-", 2000).await.unwrap();
    for _ in 0..3 {
        let before = stack.rows().await.unwrap();
        stack.maskers.pop().unwrap().child().kill();
        stack.start_masker(&[("--listen-address", &address)]).await.unwrap();
        stack.rows_exceed(before.min(1900)).await.unwrap();
    }
    all_stored_once(&mut stack, 2000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_killed_between_commit_and_receipt_stores_nothing_twice() {
    let mut stack = Stack::bare().await.unwrap();
    let writer = stack.start_writer(&[]).await.unwrap();
    let gate = Gate::before(writer).await.unwrap();
    stack.start_masker(&[("--downstream", &format!("http://{}", gate.address()))]).await.unwrap();
    stack.start_reader(&[]).await.unwrap();
    gate.hold_answers();
    stack.send_logins("user-", 500).await.unwrap();
    stack.rows_exceed(0).await.unwrap();
    stack.writers.pop().unwrap().child().kill();
    gate.release_answers();
    stack.start_writer(&[("--listen-address", &writer.to_string())]).await.unwrap();
    all_stored_once(&mut stack, 500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_killed_between_dead_lettering_and_delete_leaves_a_copy_with_the_same_id() {
    let mut stack = Stack::bare().await.unwrap();
    stack.start_writer(&[]).await.unwrap();
    stack.start_masker(&[]).await.unwrap();
    let gate = SqsGate::before(stack.queue.address()).await.unwrap();
    gate.refuse("DeleteMessageBatch");
    stack.start_reader_at(&gate.endpoint(), &[SHORT]).await.unwrap();
    let id = stack.send("not json").await.unwrap();
    let dead = stack.pair.dead_letter_url.clone();
    let arrived = async || match stack.depth(&dead).await {
        Ok((1.., _)) => Ok(()),
        other => Err(format!("{other:?}")),
    };
    eventually("a dead letter", arrived).await.unwrap();
    stack.readers.pop().unwrap().child().kill();

    stack.start_reader(&[SHORT]).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    let letters = stack.dead_letters().await.unwrap();
    assert_eq!(letters.len(), 2, "at least once: one copy of each reader");
    assert!(letters.iter().all(|letter| letter.message_id == id && letter.reason == "not-json"));
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_restarted_mid_batch_loses_nothing() {
    let mut stack = Stack::running().await.unwrap();
    stack.send_logins("user-", 1000).await.unwrap();
    for _ in 0..2 {
        stack.postgres.stop().await.unwrap();
        stack.postgres.start_again().await.unwrap();
        stack.send_logins(&format!("later-{}-", stack.rows().await.unwrap()), 500).await.unwrap();
    }
    all_stored_once(&mut stack, 2000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_and_a_masker_killed_at_once_are_survived_by_a_reader_that_waits() {
    let mut stack = Stack::bare().await.unwrap();
    let writer = stack.start_writer(&[]).await.unwrap().to_string();
    let masker = stack.start_masker(&[]).await.unwrap().to_string();
    stack.start_reader(&[]).await.unwrap();
    stack.send_logins("user-", 300).await.unwrap();
    stack.maskers.pop().unwrap().child().kill();
    stack.writers.pop().unwrap().child().kill();
    stack.send_logins("later-", 300).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    stack.readers[0].ensure_running().unwrap();
    stack.start_writer(&[("--listen-address", &writer)]).await.unwrap();
    stack.start_masker(&[("--listen-address", &masker)]).await.unwrap();
    all_stored_once(&mut stack, 600).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_leaves_nothing_hidden_in_the_queue() {
    let mut stack = Stack::running().await.unwrap();
    stack.send_logins("user-", 3000).await.unwrap();
    stack.rows_exceed(100).await.unwrap();
    stack.stop().await.unwrap();
    let (waiting, hidden) = stack.depth(&stack.pair.url).await.unwrap();
    assert_eq!(hidden, 0, "every message is either settled or visible again");
    assert_eq!(stack.rows().await.unwrap() + waiting, 3000, "what was stored was deleted");

    stack.writers.clear();
    stack.maskers.clear();
    stack.readers.clear();
    stack.start_writer(&[]).await.unwrap();
    stack.start_masker(&[]).await.unwrap();
    stack.start_reader(&[]).await.unwrap();
    all_stored_once(&mut stack, 3000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_record_among_a_thousand_costs_its_neighbours_nothing() {
    let mut stack = Stack::bare().await.unwrap();
    stack.start_writer(&[]).await.unwrap();
    let mut database = stack.database().await.unwrap();
    sqlx::raw_sql("ALTER TABLE user_logins ADD CONSTRAINT no_poison CHECK (user_id <> 'poison')")
        .execute(&mut database)
        .await
        .unwrap();
    stack.send_logins("a-", 500).await.unwrap();
    let poison = stack.send(&veilpost_tests::login("poison")).await.unwrap();
    stack.send_logins("b-", 500).await.unwrap();
    stack.start_masker(&[]).await.unwrap();
    stack.start_reader(&[]).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    assert_eq!(stack.rows().await.unwrap(), 1000);
    let letters = stack.dead_letters().await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].message_id.as_str(), letters[0].reason.as_str()), (poison.as_str(), "constraint"));
    assert!(letters[0].detail.contains("no_poison"), "{}", letters[0].detail);
    stack.stop().await.unwrap();
}
