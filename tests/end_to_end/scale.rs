//! Several of each service at once.

use veilpost_testkit::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn two_readers_two_maskers_and_two_writers_store_each_message_once() {
    let mut stack = Stack::bare().await.unwrap();
    for _ in 0..2 {
        stack.start_writer(&[]).await.unwrap();
    }
    for _ in 0..2 {
        stack.start_masker(&[]).await.unwrap();
    }
    for _ in 0..2 {
        stack.start_reader(&[("--batch-records", "50")]).await.unwrap();
    }
    stack.send_logins("user-", 3000).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    assert_eq!(stack.rows().await.unwrap(), 3000);
    assert_eq!(stack.count("SELECT count(DISTINCT user_id) FROM user_logins").await.unwrap(), 3000);
    for writer in &mut stack.writers {
        let metrics = writer.metrics().await.unwrap();
        let stored = metrics.sum("veilpost_writer_records_total", &[("outcome", "stored")]);
        assert!(stored > 0.0, "every writer has its share");
    }
    stack.stop().await.unwrap();
}
