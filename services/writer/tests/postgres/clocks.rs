//! A wrong clock decides nothing: what it puts outside of the ledger's window is held until it is right.

use std::pin::pin;

use sqlx::AssertSqlSafe;
use veilpost_proto::v1::{MaskedRecord, Reason};
use veilpost_testkit::eventually;

use crate::masker::{DUPLICATE, LEFT, MaskerStream, REJECTED, STORED, only_rejection, record, text};
use crate::test_database::TestDatabase;

/// A clock that can be moved, and counts how often it is read.
const CLOCK: &str = "
    CREATE TABLE public.clock_offset (hours int NOT NULL);
    INSERT INTO public.clock_offset VALUES (0);
    CREATE SEQUENCE public.clock_readings;
    ALTER FUNCTION pg_catalog.clock_timestamp() RENAME TO right_clock;
    CREATE FUNCTION pg_catalog.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql SECURITY DEFINER AS
        $$ BEGIN
            PERFORM nextval('public.clock_readings');
            RETURN pg_catalog.right_clock() + (SELECT hours * interval '1 hour' FROM public.clock_offset);
        END $$";

const TABLE: &str = "CREATE TABLE user_logins (user_id varchar(8))";

async fn move_clock(database: &TestDatabase, hours: i32) {
    let mut admin = database.connect_as_admin().await;
    let update = format!("UPDATE public.clock_offset SET hours = {hours}");
    sqlx::raw_sql(AssertSqlSafe(update)).execute(&mut admin).await.unwrap();
}

async fn with_clock() -> TestDatabase {
    let database = TestDatabase::with(TABLE).await;
    let mut admin = database.connect_as_admin().await;
    sqlx::raw_sql(CLOCK).execute(&mut admin).await.unwrap();
    database
}

fn named(id: usize, value: &str, last_receive: bool) -> MaskedRecord {
    MaskedRecord { last_receive, ..record(id, vec![text(value)]) }
}

async fn readings(database: &TestDatabase) -> i64 {
    let mut admin = database.connect_as_admin().await;
    sqlx::query_scalar("SELECT last_value FROM public.clock_readings").fetch_one(&mut admin).await.unwrap()
}

/// Waits until the clock was read again and again, during which no receipt may come.
async fn no_receipt_while_the_clock_is_read(database: &TestDatabase, stream: &mut MaskerStream) {
    let before = readings(database).await;
    let mut receipt = pin!(stream.receipt());
    let read = eventually("further readings", async || match readings(database).await {
        now if now >= before + 6 => Ok(()),
        now => Err(format!("{now} readings, {before} before")),
    });
    tokio::select! {
        read = read => read.unwrap(),
        early = &mut receipt => panic!("{:?}", early.map(|receipt| receipt.outcomes)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_databases_clock_is_wrong_messages_are_held_and_then_stored_or_rejected() {
    for hours in [-3 * 24, 20 * 24] {
        let database = with_clock().await;
        move_clock(&database, hours).await;
        let writer = database.ready_writer(&[]).await;
        let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
        stream.send(vec![named(0, "x", false), named(1, "x", true), named(2, "too long for it", true)]).await;
        no_receipt_while_the_clock_is_read(&database, &mut stream).await;
        assert_eq!(database.count("user_logins").await, 0);
        move_clock(&database, 0).await;
        let receipt = stream.receipt().await.unwrap();
        assert_eq!(receipt.outcomes, [STORED, STORED, REJECTED], "{hours}");
        assert_eq!(only_rejection(&receipt).0, Reason::TextTooLong);
        let keys = database.count("veilpost.ledger").await;
        assert_eq!((database.count("user_logins").await, keys), (2, 3), "the rejection has claimed its key");
        writer.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_message_is_a_duplicate_however_the_clock_moved_between_its_deliveries() {
    let database = with_clock().await;
    let stored = || (0..20).map(|id| named(id, "x", id % 2 == 0)).collect::<Vec<_>>();
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    assert_eq!(stream.store(stored()).await.outcomes, [STORED; 20]);
    writer.stop().await;
    for hours in [-3 * 24, -5, 5, 10 * 24, 20 * 24] {
        move_clock(&database, hours).await;
        let writer = database.ready_writer(&[]).await;
        let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
        stream.send(stored()).await;
        move_clock(&database, 0).await;
        assert_eq!(stream.receipt().await.unwrap().outcomes, [DUPLICATE; 20], "{hours}");
        writer.stop().await;
    }
    assert_eq!(database.count("user_logins").await, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_message_from_another_time_is_held_until_others_are_stored_and_then_left() {
    let database = with_clock().await;
    let writer = database.ready_writer(&["--connections", "1"]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let mut old = named(0, "x", false);
    old.sent_timestamp_ms -= 20 * 24 * 60 * 60 * 1000;
    stream.send(vec![old]).await;
    no_receipt_while_the_clock_is_read(&database, &mut stream).await;
    let mut others = writer.open("user_logins", &["user_id"]).await.unwrap();
    assert_eq!(others.store(vec![named(1, "x", false)]).await.outcomes, [STORED]);
    assert_eq!(stream.receipt().await.unwrap().outcomes, [LEFT]);
}
