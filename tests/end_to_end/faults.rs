//! Processes and servers that end at the worst moment: nothing lost, nothing twice, nothing left hidden.

use std::time::Duration;

use veilpost_testkit::{FaultProxy, SqsFaultProxy, Stack, eventually};

const SHORT: (&str, &str) = ("--visibility-timeout", "5s");

async fn all_stored_once(stack: &mut Stack, count: i64) {
    stack.queue_is_empty().await.unwrap();
    assert_eq!(stack.rows().await.unwrap(), count);
    assert_eq!(stack.count("SELECT count(DISTINCT user_id) FROM user_logins").await.unwrap(), count);
    assert_eq!(stack.count("SELECT count(*) FROM veilpost.ledger").await.unwrap(), count);
    assert_eq!(stack.depth(&stack.pair.dead_letter_url).await.unwrap(), (0, 0));
    stack.stop().await.unwrap();
}

/// How many records the writers found stored already.
async fn duplicates(stack: &mut Stack) -> f64 {
    let mut sum = 0.0;
    for writer in &mut stack.writers {
        sum +=
            writer.metrics().await.unwrap().sum("veilpost_writer_records_total", &[("outcome", "duplicate")]);
    }
    sum
}

#[tokio::test(flavor = "multi_thread")]
async fn a_masker_killed_mid_stream_loses_nothing() {
    let mut stack = Stack::bare().await.unwrap();
    let writer = stack.start_writer(&[]).await.unwrap();
    let proxy = FaultProxy::before(writer).await.unwrap();
    let downstream = format!("http://{}", proxy.address());
    let masker = stack.start_masker(&[("--downstream", &downstream)]).await.unwrap().to_string();
    stack.start_reader(&[("--batch-records", "20")]).await.unwrap();
    for round in 0..3 {
        proxy.lose_answers();
        let before = stack.rows().await.unwrap();
        stack.send_logins(&format!("round-{round}-"), 200).await.unwrap();
        stack.rows_exceed(before).await.unwrap();
        stack.maskers.pop().unwrap().child().kill();
        proxy.pass_answers();
        stack.start_masker(&[("--downstream", &downstream), ("--listen-address", &masker)]).await.unwrap();
        stack.queue_is_empty().await.unwrap();
    }
    let resent = stack.readers[0].metrics().await.unwrap().sum("veilpost_link_resent_records_total", &[]);
    assert!(resent > 0.0, "no batch was on a stream that broke");
    assert!(duplicates(&mut stack).await > 0.0, "nothing had been committed before a kill");
    all_stored_once(&mut stack, 600).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_killed_between_commit_and_receipt_stores_nothing_twice() {
    let mut stack = Stack::bare().await.unwrap();
    let writer = stack.start_writer(&[]).await.unwrap();
    let proxy = FaultProxy::before(writer).await.unwrap();
    stack.start_masker(&[("--downstream", &format!("http://{}", proxy.address()))]).await.unwrap();
    stack.start_reader(&[]).await.unwrap();
    proxy.lose_answers();
    stack.send_logins("user-", 500).await.unwrap();
    stack.rows_exceed(0).await.unwrap();
    stack.writers.pop().unwrap().child().kill();
    proxy.pass_answers();
    stack.start_writer(&[("--listen-address", &writer.to_string())]).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    assert!(duplicates(&mut stack).await > 0.0, "nothing had been committed before the kill");
    all_stored_once(&mut stack, 500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_masker_that_hangs_loses_its_share_to_the_other() {
    let mut stack = Stack::bare().await.unwrap();
    stack.start_writer(&[]).await.unwrap();
    stack.start_masker(&[]).await.unwrap();
    stack.start_masker(&[]).await.unwrap();
    stack.start_reader(&[]).await.unwrap();
    stack.send_logins("before-", 50).await.unwrap();
    stack.rows_are(50).await.unwrap();
    stack.maskers[0].child().pause();
    stack.send_logins("while-", 300).await.unwrap();
    stack.rows_are(350).await.unwrap();
    stack.maskers[0].child().resume();
    all_stored_once(&mut stack, 350).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_hangs_longer_than_its_visibility_timeout_does_no_harm() {
    let mut stack = Stack::running().await.unwrap();
    stack.start_reader(&[SHORT]).await.unwrap();
    stack.send_logins("user-", 1000).await.unwrap();
    stack.readers[1].child().pause();
    tokio::time::sleep(Duration::from_secs(8)).await;
    stack.readers[1].child().resume();
    all_stored_once(&mut stack, 1000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_killed_between_dead_lettering_and_delete_leaves_a_copy_with_the_same_id() {
    let mut stack = Stack::bare().await.unwrap();
    stack.start_writer(&[]).await.unwrap();
    stack.start_masker(&[]).await.unwrap();
    let proxy = SqsFaultProxy::before(stack.queue.address()).await.unwrap();
    proxy.refuse("DeleteMessageBatch");
    stack.start_reader_at(&proxy.endpoint(), &[SHORT]).await.unwrap();
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
    for round in 0..2 {
        stack.postgres.stop().await.unwrap();
        stack.send_logins(&format!("later-{round}-"), 500).await.unwrap();
        stack.postgres.start_again().await.unwrap();
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
    let mut stack = Stack::bare().await.unwrap();
    stack.start_writer(&[]).await.unwrap();
    stack.start_masker(&[]).await.unwrap();
    stack.send_logins("user-", 3000).await.unwrap();
    stack.start_reader(&[("--window-messages", "100")]).await.unwrap();
    stack.rows_exceed(0).await.unwrap();
    stack.stop().await.unwrap();
    let (waiting, hidden) = stack.depth(&stack.pair.url).await.unwrap();
    assert!(waiting > 0, "the drain came too late to be under load");
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
    let poison = stack.send(&veilpost_testkit::login("poison")).await.unwrap();
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
