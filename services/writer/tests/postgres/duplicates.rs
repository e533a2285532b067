//! Each message is stored once, however often and however simultaneously it comes.

use veilpost_proto::v1::MaskedRecord;

use crate::world::{DUPLICATE, LEFT, STORED, World, now_ms, null, record, text};

fn users(ids: impl IntoIterator<Item = usize>) -> Vec<MaskedRecord> {
    ids.into_iter().map(|id| record(id, vec![text(&format!("user-{id}"))])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn new_records_become_rows() {
    let world = World::new("").await;
    let writer = world.ready(&[]).await;
    let columns = ["user_id", "locale", "app_version", "create_date"];
    let mut stream = writer.open("user_logins", &columns).await.unwrap();
    let records = vec![
        record("a", vec![text("u1"), null(), crate::world::number("23"), text("2026-01-02")]),
        record("b", vec![text("u2"), text("de"), null(), null()]),
    ];
    assert_eq!(stream.store(records).await.outcomes, [STORED, STORED]);
    let rows =
        world.text("SELECT string_agg(user_logins::text, ' ' ORDER BY user_id) FROM user_logins").await;
    assert_eq!(rows, "(u1,,,,,23,2026-01-02) (u2,,,,de,,)");
    assert_eq!(world.count("veilpost.ledger").await, 2);
    writer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_in_later_batches_and_within_one_batch_are_duplicates() {
    let world = World::new("").await;
    let writer = world.ready(&[]).await;
    let mut stream = writer.open("public.user_logins", &["user_id"]).await.unwrap();
    assert_eq!(stream.store(users([1, 2, 1, 1])).await.outcomes, [STORED, STORED, DUPLICATE, DUPLICATE]);
    assert_eq!(stream.store(users([3, 2, 4])).await.outcomes, [STORED, DUPLICATE, STORED]);
    assert_eq!(world.count("user_logins").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_a_duplicate_also_where_its_row_would_violate_a_constraint() {
    let world = World::new("CREATE TABLE user_logins (user_id text PRIMARY KEY)").await;
    let writer = world.ready(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    assert_eq!(stream.store(users([1, 2, 1])).await.outcomes, [STORED, STORED, DUPLICATE]);
    assert_eq!(stream.store(users([2, 3, 1])).await.outcomes, [DUPLICATE, STORED, DUPLICATE]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_message_id_of_another_pipeline_or_time_is_another_message() {
    let world = World::new("").await;
    let writer = world.ready(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let later = MaskedRecord { sent_timestamp_ms: now_ms() - 5000, ..users([1]).remove(0) };
    assert_eq!(stream.store([users([1]), vec![later]].concat()).await.outcomes, [STORED, STORED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_send_the_same_records_at_once_store_them_once() {
    let world = World::new("").await;
    let writers =
        [world.ready(&["--connections", "4"]).await, world.ready(&["--batch-records", "150"]).await];
    let mut streams = Vec::new();
    for writer in writers.iter().cycle().take(6) {
        streams.push(writer.open("user_logins", &["user_id"]).await.unwrap());
    }
    let all = async |turn: usize, stream: &mut crate::world::Stream| {
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
    let distinct = world.text("SELECT count(*) || ' ' || count(DISTINCT user_id) FROM user_logins").await;
    assert_eq!(distinct, "1000 1000");
    let deadlocks =
        world.text("SELECT deadlocks::text FROM pg_stat_database WHERE datname = current_database()").await;
    assert_eq!(deadlocks, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_outside_the_ledgers_window_is_left() {
    let world = World::new("").await;
    let writer = world.ready(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let day = 24 * 60 * 60 * 1000;
    let sent =
        |days: i64| MaskedRecord { sent_timestamp_ms: now_ms() - days * day, ..record(days, vec![null()]) };
    let receipt = stream.store(vec![sent(20), sent(14), sent(0), sent(-3), sent(40_000)]).await;
    assert_eq!(receipt.outcomes, [LEFT, STORED, STORED, LEFT, LEFT]);
    assert_eq!(world.count("user_logins").await, 2);
}
