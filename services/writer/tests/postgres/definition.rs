//! A stored value never depends on a definition that the table no longer has.

use std::time::Duration;

use tonic::Code;
use veilpost_proto::v1::Value;

use crate::masker::{DUPLICATE, MaskerStream, STORED, null, record, text};
use crate::running_writer::RunningWriter;
use crate::test_database::TestDatabase;

/// A column's type, the statements that change it, a value, and how it must look in the old and the new
/// column.
const CHANGES: [(&str, &str, &str, &str, &str); 8] = [
    (
        "timestamp",
        "ALTER TABLE t ALTER v TYPE timestamptz",
        "2026-11-29T10:15:00Z",
        "2026-11-29 10:15:00",
        "2026-11-29 10:15:00+00",
    ),
    (
        "timestamptz",
        "ALTER TABLE t ALTER v TYPE text",
        "2026-11-29T10:15:00+05:00",
        "2026-11-29 05:15:00+00",
        "2026-11-29T10:15:00+05:00",
    ),
    ("inet", "ALTER TABLE t ALTER v TYPE text USING v::text", "::0001", "::1/128", "::0001"),
    ("numeric(8,2)", "ALTER TABLE t ALTER v TYPE text", "1.005", "1.01", "1.005"),
    ("real", "ALTER TABLE t ALTER v TYPE double precision", "0.1", "0.1", "0.1"),
    ("date", "ALTER TABLE t DROP v; ALTER TABLE t ADD v text", "20261129", "2026-11-29", "20261129"),
    ("low", "ALTER TABLE t ALTER v TYPE wide", "07", "7", "07"),
    ("boolean", "ALTER TABLE t RENAME TO old; CREATE TABLE t (k text, v text)", "YES", "true", "YES"),
];

const TYPES: &str = "CREATE DOMAIN low AS integer; CREATE DOMAIN wide AS text";

async fn store(stream: &mut MaskerStream, key: &str, value: Value) {
    let receipt = stream.store(vec![record(key, vec![text(key), value])]).await;
    assert_eq!(receipt.outcomes, [STORED], "{receipt:?}");
}

async fn shown(database: &TestDatabase, key: &str) -> String {
    database.text(&format!("SELECT v::text FROM t WHERE k = '{key}'")).await
}

/// Sends a record on a stream whose statement is prepared for the old definition.
async fn refused(stream: &mut MaskerStream, key: &str, value: Value) {
    stream.send(vec![record(key, vec![text(key), value])]).await;
    assert_eq!(stream.end().await, Code::Unavailable, "the definition has changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_type_ends_the_stream_and_the_value_is_stored_by_the_new_definition() {
    for (old_type, change, value, by_old, by_new) in CHANGES {
        let database = TestDatabase::with(&format!("{TYPES}; CREATE TABLE t (k text, v {old_type})")).await;
        let writer = database.ready_writer(&["--table", "t", "--connections", "1"]).await;
        let mut stream = writer.open("t", &["k", "v"]).await.unwrap();
        for key in ["before", "again"] {
            store(&mut stream, key, text(value)).await;
        }
        assert_eq!(shown(&database, "before").await, by_old, "{old_type}");
        database.sql(change).await;
        refused(&mut stream, "after", text(value)).await;
        let mut stream = writer.open("t", &["k", "v"]).await.unwrap();
        store(&mut stream, "after", text(value)).await;
        assert_eq!(shown(&database, "after").await, by_new, "{change}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_skips_known_keys_notices_a_change_too() {
    let database = TestDatabase::with("CREATE TABLE t (k text, v timestamptz)").await;
    let writer = database.ready_writer(&["--table", "t", "--connections", "1"]).await;
    let mut stream = writer.open("t", &["k", "v"]).await.unwrap();
    let value = "2026-11-29T10:15:00+05:00";
    let known = |key: &str| record(key, vec![text(key), text(value)]);
    store(&mut stream, "known", text(value)).await;
    assert_eq!(stream.store(vec![known("known"), known("second")]).await.outcomes, [DUPLICATE, STORED]);
    database.sql("ALTER TABLE t ALTER v TYPE text").await;
    stream.send(vec![known("known"), known("third")]).await;
    assert_eq!(stream.end().await, Code::Unavailable);
    let mut stream = writer.open("t", &["k", "v"]).await.unwrap();
    assert_eq!(stream.store(vec![known("known"), known("third")]).await.outcomes, [DUPLICATE, STORED]);
    assert_eq!(shown(&database, "third").await, value);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_becomes_unlogged_takes_nothing() {
    let database = TestDatabase::with("CREATE TABLE t (k text, v text)").await;
    let writer = database.ready_writer(&["--table", "t"]).await;
    let mut stream = writer.open("t", &["k", "v"]).await.unwrap();
    store(&mut stream, "a", null()).await;
    database.sql("ALTER TABLE t SET UNLOGGED").await;
    stream.send(vec![record("b", vec![text("b"), null()])]).await;
    assert_eq!(stream.end().await, Code::FailedPrecondition);
    assert_eq!(database.count("t").await, 1);
}

/// Stores numbered records until each is stored, opening a new stream whenever one ends.
async fn store_all(writer: &RunningWriter, first: usize) {
    let mut stream = None;
    for number in 0..150 {
        let key = format!("{first}-{number}");
        loop {
            let Ok(mut open) = (match stream.take() {
                Some(open) => Ok(open),
                None => writer.open("t", &["k", "v"]).await,
            }) else {
                continue;
            };
            open.send(vec![record(&key, vec![text(&key), text("2026-11-29T10:15:00+05:00")])]).await;
            if open.receipt().await.is_ok_and(|receipt| [STORED, DUPLICATE].contains(&receipt.outcomes[0])) {
                stream = Some(open);
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_changes_of_type_no_value_is_changed_and_each_is_stored_once() {
    let database = TestDatabase::with("CREATE TABLE t (k text, v text, t text DEFAULT '')").await;
    let writer = database.ready_writer(&["--table", "t", "--connections", "4"]).await;
    let changes = async {
        for type_name in ["timestamptz", "text"].iter().cycle().take(30) {
            database.sql(&format!("ALTER TABLE t ALTER v TYPE {type_name} USING v::{type_name}")).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::join!(store_all(&writer, 1), store_all(&writer, 2), store_all(&writer, 3), changes);
    database.sql("ALTER TABLE t ALTER v TYPE timestamptz USING v::timestamptz").await;
    let counts = "SELECT count(*) || ' ' || count(DISTINCT k) || ' ' || count(DISTINCT v) || ' ' || min(v AT TIME ZONE 'UTC') FROM t";
    assert_eq!(database.text(counts).await, "450 450 1 2026-11-29 05:15:00");
}
