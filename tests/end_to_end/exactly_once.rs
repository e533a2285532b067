//! Redelivered, doubled and shared: each message is stored once.

use veilpost_testkit::{SqsFaultProxy, Stack};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_stored_but_not_deleted_is_a_duplicate_when_it_comes_again() {
    let mut stack = Stack::bare().await.unwrap();
    stack.start_writer(&[]).await.unwrap();
    stack.start_masker(&[]).await.unwrap();
    let proxy = SqsFaultProxy::before(stack.queue.address()).await.unwrap();
    proxy.refuse("DeleteMessageBatch");
    stack.start_reader_at(&proxy.endpoint(), &[("--visibility-timeout", "3s")]).await.unwrap();
    stack.send_logins("user-", 100).await.unwrap();
    stack.rows_are(100).await.unwrap();
    stack.readers.pop().unwrap().child().kill();

    stack.start_reader(&[]).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    assert_eq!(stack.rows().await.unwrap(), 100);
    assert_eq!(stack.count("SELECT count(*) FROM veilpost.ledger").await.unwrap(), 100);
    let metrics = stack.writers[0].metrics().await.unwrap();
    let duplicates = metrics.sum("veilpost_writer_records_total", &[("outcome", "duplicate")]);
    assert!((duplicates - 100.0).abs() < f64::EPSILON, "{duplicates} duplicates");
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_twice_at_once_is_sent_and_stored_once() {
    let mut stack = Stack::bare().await.unwrap();
    stack.start_writer(&[]).await.unwrap();
    stack.start_masker(&[]).await.unwrap();
    let proxy = SqsFaultProxy::before(stack.queue.address()).await.unwrap();
    proxy.deliver_twice();
    stack.send_logins("user-", 200).await.unwrap();
    stack.start_reader_at(&proxy.endpoint(), &[]).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    assert_eq!(stack.rows().await.unwrap(), 200);
    assert!(proxy.doubled() >= 200, "only {} deliveries were doubled", proxy.doubled());
    let adopted = stack.readers[0].metrics().await.unwrap().sum("veilpost_reader_adopted_total", &[]);
    assert!(adopted >= 200.0, "only {adopted} deliveries were adopted");
    let metrics = stack.writers[0].metrics().await.unwrap();
    let duplicates = metrics.sum("veilpost_writer_records_total", &[("outcome", "duplicate")]);
    assert!(duplicates < 1.0, "{duplicates} deliveries were sent a second time");
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pipelines_share_a_table_and_its_ledger() {
    let mut stack = Stack::running().await.unwrap();
    let other = stack.queue.create_pair("other-logins", "other-logins-dead-letter").unwrap();
    let arguments =
        [("--queue", "other-logins"), ("--dead-letter-queue-url", other.dead_letter_url.as_str())];
    stack.start_reader(&arguments).await.unwrap();
    stack.send_logins("one-", 150).await.unwrap();
    let own = std::mem::replace(&mut stack.pair, other);
    stack.send_logins("other-", 150).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    stack.pair = own;
    stack.queue_is_empty().await.unwrap();
    assert_eq!(stack.rows().await.unwrap(), 300);
    assert_eq!(stack.count("SELECT count(DISTINCT user_id) FROM user_logins").await.unwrap(), 300);
    assert_eq!(stack.count("SELECT count(*) FROM veilpost.ledger").await.unwrap(), 300);
    stack.stop().await.unwrap();
}
