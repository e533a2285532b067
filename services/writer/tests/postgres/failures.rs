//! Failures of the infrastructure lose nothing, double nothing and reject nothing.

use std::time::Duration;

use sqlx::Connection;
use veilpost_proto::v1::{MaskedRecord, Receipt};

use crate::masker::{DUPLICATE, LEFT, REJECTED, STORED, record, text};
use crate::test_database::TestDatabase;

fn users(count: usize) -> Vec<MaskedRecord> {
    (0..count).map(|id| record(id, vec![text(&format!("user-{id}"))])).collect()
}

/// A table that takes `seconds` for every row.
fn slow_table(seconds: f64) -> String {
    format!(
        "CREATE TABLE user_logins (user_id text);
         CREATE FUNCTION doze() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END $$;
         CREATE TRIGGER doze BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION doze()"
    )
}

fn assert_all_settled(receipt: &Receipt) {
    let settled = receipt.outcomes.iter().all(|outcome| [STORED, DUPLICATE].contains(outcome));
    assert!(settled && receipt.rejections.is_empty(), "{receipt:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_too_slow_is_halved_until_it_fits() {
    let database = TestDatabase::with(&slow_table(0.02)).await;
    let writer = database.ready_writer(&["--statement-timeout", "500ms"]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let receipt = stream.store(users(60)).await;
    assert_eq!(receipt.outcomes, [STORED; 60]);
    assert_eq!(database.count("user_logins").await, 60);
}

/// Kills the writer's connections `times` times; returns how many there were.
async fn kill_connections(database: &TestDatabase, times: u32, every: Duration) -> i64 {
    let mut admin = database.connect_as_admin().await;
    let mut killed = 0;
    for _ in 0..times {
        tokio::time::sleep(every).await;
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = 'veilpost-writer'";
        killed += sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut admin).await.unwrap();
    }
    killed
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_killed_during_a_search_lose_nothing_and_double_nothing() {
    let database = TestDatabase::with(&slow_table(0.001)).await;
    database.sql("ALTER TABLE user_logins ADD CHECK (user_id NOT LIKE '%poison')").await;
    let writer = database.ready_writer(&["--connections", "1"]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let batch = |number: usize| {
        let value = |id: usize| format!("user-{number}-{id}{}", if id % 10 == 3 { "-poison" } else { "" });
        (0..200).map(|id| record(number * 200 + id, vec![text(&value(id))])).collect::<Vec<_>>()
    };
    let store = async {
        // Each twice: what was stored but could not be reported is recognised.
        for number in [0, 1, 2, 0, 1, 2] {
            let receipt = stream.store(batch(number)).await;
            for (id, outcome) in receipt.outcomes.iter().enumerate() {
                let settled = [STORED, DUPLICATE].contains(outcome);
                assert!(
                    if id % 10 == 3 { *outcome == REJECTED } else { settled },
                    "{number}-{id}: {outcome}"
                );
            }
        }
    };
    let ((), killed) = tokio::join!(store, kill_connections(&database, 12, Duration::from_millis(120)));
    assert!(killed > 3);
    let rows = database.text("SELECT count(*) || ' ' || count(DISTINCT user_id) FROM user_logins").await;
    assert_eq!(rows, "540 540");
    assert_eq!(database.count("veilpost.ledger WHERE rejected IS NULL").await, 540);
    assert_eq!(database.count("veilpost.ledger WHERE rejected = 9").await, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_connections_lose_nothing_and_double_nothing() {
    let database = TestDatabase::with(&slow_table(0.001)).await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let store = async {
        for _ in 0..3 {
            assert_all_settled(&stream.store(users(300)).await);
        }
    };
    let kill = kill_connections(&database, 8, Duration::from_millis(150));
    let ((), killed) = tokio::join!(store, kill);
    assert!(killed > 0);
    let rows = database.text("SELECT count(*) || ' ' || count(DISTINCT user_id) FROM user_logins").await;
    assert_eq!(rows, "300 300");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_on_the_table_is_waited_for() {
    let database = TestDatabase::with("").await;
    let writer = database.ready_writer(&["--statement-timeout", "1s"]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let mut other = database.connect().await;
    let mut lock = other.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE user_logins").execute(&mut *lock).await.unwrap();
    stream.send(users(10)).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    lock.commit().await.unwrap();
    assert_eq!(stream.receipt().await.unwrap().outcomes, [STORED; 10]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_takes_no_rows_is_waited_for_and_nothing_is_left() {
    let closed = "CREATE TABLE user_logins (user_id text);
                  CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'closed'; END $$;
                  CREATE TRIGGER refuse BEFORE INSERT ON user_logins EXECUTE FUNCTION refuse()";
    let database = TestDatabase::with(closed).await;
    let writer = database.ready_writer(&["--statement-timeout", "200ms"]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    stream.send(users(1)).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    database.sql("DROP TRIGGER refuse ON user_logins").await;
    assert_eq!(stream.receipt().await.unwrap().outcomes, [STORED]);
    let mut other = database.connect().await;
    let mut lock = other.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE user_logins").execute(&mut *lock).await.unwrap();
    stream.send(vec![record("locked", vec![text("x")])]).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    lock.commit().await.unwrap();
    assert_eq!(stream.receipt().await.unwrap().outcomes, [STORED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_always_too_slow_is_left_and_does_not_hold_up_the_others() {
    let setup = "CREATE TABLE user_logins (user_id text);
                 CREATE FUNCTION doze() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN IF NEW.user_id = 'user-3' THEN PERFORM pg_sleep(60); END IF; RETURN NEW; END $$;
                 CREATE TRIGGER doze BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION doze()";
    let database = TestDatabase::with(setup).await;
    let writer = database.ready_writer(&["--statement-timeout", "200ms", "--connections", "1"]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let receipt = stream.store(users(8)).await;
    assert_eq!(receipt.outcomes, [STORED, STORED, STORED, LEFT, STORED, STORED, STORED, STORED]);
    stream.send(users(4).split_off(3)).await;
    assert_eq!(stream.store(users(9).split_off(8)).await.outcomes, [STORED]);
    assert_eq!(stream.receipt().await.unwrap().outcomes, [LEFT], "also alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_always_takes_too_long_to_validate_is_left_and_does_not_hold_up_the_others() {
    let setup = "CREATE FUNCTION is_quick(value text) RETURNS boolean LANGUAGE plpgsql AS
                     $$ BEGIN IF value = 'slow' THEN PERFORM pg_sleep(60); END IF; RETURN true; END $$;
                 CREATE DOMAIN quick AS text CHECK (is_quick(VALUE));
                 CREATE TYPE span AS RANGE (subtype = quick);
                 CREATE TABLE user_logins (user_id span)";
    let database = TestDatabase::with(setup).await;
    let writer = database.ready_writer(&["--statement-timeout", "200ms", "--connections", "1"]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let values = ["[a,b]", "[b,c]", "no range", "[slow,t]", "[c,d]", "[slow,t]"];
    let record = |(id, value): (usize, &&str)| record(id, vec![text(value)]);
    let receipt = stream.store(values.iter().enumerate().map(record).collect()).await;
    assert_eq!(receipt.outcomes, [STORED, STORED, REJECTED, LEFT, STORED, LEFT]);
    assert_eq!(stream.store(vec![record((6, &"[slow,t]"))]).await.outcomes, [LEFT], "also alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_always_waits_for_a_lock_is_left_and_does_not_hold_up_the_others() {
    let database = TestDatabase::with("CREATE TABLE user_logins (user_id text UNIQUE)").await;
    let writer = database.ready_writer(&["--statement-timeout", "200ms", "--connections", "1"]).await;
    let mut other = database.connect().await;
    let mut lock = other.begin().await.unwrap();
    sqlx::raw_sql("INSERT INTO user_logins VALUES ('user-3')").execute(&mut *lock).await.unwrap();
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let receipt = stream.store(users(8)).await;
    assert_eq!(receipt.outcomes, [STORED, STORED, STORED, LEFT, STORED, STORED, STORED, STORED]);
    lock.rollback().await.unwrap();
    assert_eq!(stream.store(users(4).split_off(3)).await.outcomes, [STORED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_privilege_is_waited_for() {
    let database = TestDatabase::with("").await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    database.sql(&format!("REVOKE INSERT ON user_logins FROM {}", database.name)).await;
    stream.send(users(2)).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    database.sql(&format!("GRANT INSERT ON user_logins TO {}", database.name)).await;
    assert_eq!(stream.receipt().await.unwrap().outcomes, [STORED; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_ends_the_streams_and_the_writer() {
    let database = TestDatabase::with("").await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let mut other = database.connect().await;
    let mut lock = other.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE user_logins").execute(&mut *lock).await.unwrap();
    stream.send(users(10)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    writer.life.start_abort();
    assert_eq!(stream.end().await, tonic::Code::Unavailable);
    writer.stop().await;
}
