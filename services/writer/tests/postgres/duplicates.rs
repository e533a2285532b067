//! Each message is stored once, however often it comes and however many come at once.

use veilpost_proto::v1::MaskedRecord;

use crate::masker::{DUPLICATE, LEFT, STORED, now_ms, null, record, text};
use crate::test_database::TestDatabase;

fn users(ids: impl IntoIterator<Item = usize>) -> Vec<MaskedRecord> {
    ids.into_iter().map(|id| record(id, vec![text(&format!("user-{id}"))])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn new_records_become_rows() {
    let database = TestDatabase::with("").await;
    let writer = database.ready_writer(&[]).await;
    let columns = ["user_id", "locale", "app_version", "create_date"];
    let mut stream = writer.open("user_logins", &columns).await.unwrap();
    let records = vec![
        record("a", vec![text("u1"), null(), crate::masker::number("23"), text("2026-01-02")]),
        record("b", vec![text("u2"), text("de"), null(), null()]),
    ];
    assert_eq!(stream.store(records).await.outcomes, [STORED, STORED]);
    let rows =
        database.text("SELECT string_agg(user_logins::text, ' ' ORDER BY user_id) FROM user_logins").await;
    assert_eq!(rows, "(u1,,,,,23,2026-01-02) (u2,,,,de,,)");
    assert_eq!(database.count("veilpost.ledger").await, 2);
    writer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_in_later_batches_and_within_one_batch_are_duplicates() {
    let database = TestDatabase::with("").await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("public.user_logins", &["user_id"]).await.unwrap();
    assert_eq!(stream.store(users([1, 2, 1, 1])).await.outcomes, [STORED, STORED, DUPLICATE, DUPLICATE]);
    assert_eq!(stream.store(users([3, 2, 4])).await.outcomes, [STORED, DUPLICATE, STORED]);
    assert_eq!(database.count("user_logins").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_a_duplicate_even_when_its_row_would_violate_a_constraint() {
    let database = TestDatabase::with("CREATE TABLE user_logins (user_id text PRIMARY KEY)").await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    assert_eq!(stream.store(users([1, 2, 1])).await.outcomes, [STORED, STORED, DUPLICATE]);
    assert_eq!(stream.store(users([2, 3, 1])).await.outcomes, [DUPLICATE, STORED, DUPLICATE]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_message_id_of_another_pipeline_or_time_is_another_message() {
    let database = TestDatabase::with("").await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let later = MaskedRecord { sent_timestamp_ms: now_ms() - 5000, ..users([1]).remove(0) };
    assert_eq!(stream.store([users([1]), vec![later]].concat()).await.outcomes, [STORED, STORED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_send_the_same_records_at_once_store_them_once() {
    let database = TestDatabase::with("").await;
    let writers = [
        database.ready_writer(&["--connections", "4"]).await,
        database.ready_writer(&["--batch-records", "150"]).await,
    ];
    let mut streams = Vec::new();
    for writer in writers.iter().cycle().take(6) {
        streams.push(writer.open("user_logins", &["user_id"]).await.unwrap());
    }
    let all = async |turn: usize, stream: &mut crate::masker::MaskerStream| {
        let mut stored = 0;
        for batch in 0..20 {
            let ids = (0..100).map(|n| (batch * 100 + n * (turn * 2 + 1)) % 1000);
            let receipt = stream.store(users(ids)).await;
            assert!(receipt.outcomes.iter().all(|outcome| [STORED, DUPLICATE].contains(outcome)));
            stored += receipt.outcomes.iter().map(|outcome| usize::from(*outcome == STORED)).sum::<usize>();
        }
        stored
    };
    let runs = streams.iter_mut().enumerate().map(|(turn, stream)| all(turn, stream));
    let stored: usize = futures_util::future::join_all(runs).await.into_iter().sum();
    assert_eq!(stored, 1000);
    let distinct = database.text("SELECT count(*) || ' ' || count(DISTINCT user_id) FROM user_logins").await;
    assert_eq!(distinct, "1000 1000");
    let deadlocks = database
        .text("SELECT deadlocks::text FROM pg_stat_database WHERE datname = current_database()")
        .await;
    assert_eq!(deadlocks, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_sent_outside_the_ledgers_window_is_left() {
    let database = TestDatabase::with("").await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let day = 24 * 60 * 60 * 1000;
    let sent =
        |days: i64| MaskedRecord { sent_timestamp_ms: now_ms() - days * day, ..record(days, vec![null()]) };
    let receipt = stream.store(vec![sent(20), sent(14), sent(0), sent(-3), sent(40_000)]).await;
    assert_eq!(receipt.outcomes, [LEFT, STORED, STORED, LEFT, LEFT], "others are stored");
    assert_eq!(database.count("user_logins").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn known_keys_leave_no_dead_rows() {
    let database = TestDatabase::with("").await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let records = users(0..500);
    assert!(stream.store(records.clone()).await.outcomes.iter().all(|outcome| *outcome == STORED));
    let size = database.text("SELECT pg_relation_size('user_logins')::text").await;
    for _ in 0..3 {
        let outcomes = stream.store(records.clone()).await.outcomes;
        assert!(outcomes.iter().all(|outcome| *outcome == DUPLICATE));
    }
    assert_eq!(database.text("SELECT pg_relation_size('user_logins')::text").await, size);
}
