//! How streams begin and end.

use tonic::Code;
use veilpost_proto::v1::{MaskedBatch, Target};

use crate::masker::{STORED, null, record, text};
use crate::test_database::TestDatabase;

#[tokio::test(flavor = "multi_thread")]
async fn unknown_and_unusable_names_end_the_stream_with_the_name() {
    let setup = "CREATE TABLE odd (a text, tags text[], sums money[], oids oidvector, n int GENERATED ALWAYS AS (1) STORED,
                                   i int GENERATED ALWAYS AS IDENTITY, u user_logins)";
    let database = TestDatabase::with(&format!("CREATE TABLE user_logins (a text); {setup}")).await;
    let writer = database.ready_writer(&["--table", "public.odd"]).await;
    for (table, column, named) in [
        ("other", "a", "other"),
        ("veilpost.ledger", "key", "veilpost.ledger"),
        ("odd", "nope", "nope"),
        ("odd", "A", "A"),
        ("odd", "sums", "sums"),
        ("odd", "oids", "oids"),
        ("odd", "n", "n"),
        ("odd", "i", "i"),
        ("odd", "u", "u"),
        ("odd", "ctid", "ctid"),
    ] {
        let status = writer.open(table, &[column]).await.err().unwrap();
        assert_eq!(status.code(), Code::FailedPrecondition, "{table}.{column}");
        assert!(status.message().contains(named), "{status}");
    }
    assert!(writer.open("odd", &["a", "tags"]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_added_later_is_found() {
    let database = TestDatabase::with("").await;
    let writer = database.ready_writer(&[]).await;
    assert!(writer.open("user_logins", &["country"]).await.is_err());
    database.sql("ALTER TABLE user_logins ADD country text").await;
    let mut stream = writer.open("user_logins", &["country"]).await.unwrap();
    assert_eq!(stream.store(vec![record(1, vec![text("FR")])]).await.outcomes, [STORED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_message_has_the_target_and_nothing_else() {
    let database = TestDatabase::with("").await;
    let writer = database.ready_writer(&[]).await;
    let target =
        Some(Target { table: "user_logins".into(), columns: vec!["user_id".into()], ..Target::default() });
    let records = MaskedBatch::encoded([record(1, vec![null()])]);
    for first in [
        MaskedBatch::default(),
        MaskedBatch { records: records.clone(), ..MaskedBatch::default() },
        MaskedBatch { target, records, ..MaskedBatch::default() },
    ] {
        let status = writer.send_first(first).await.err().unwrap();
        assert_eq!(status.code(), Code::InvalidArgument);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_number_of_values_ends_the_stream_and_stores_nothing_of_the_batch() {
    let database = TestDatabase::with("").await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    stream.send(vec![record(1, vec![null()]), record(2, vec![null(), null()])]).await;
    assert_eq!(stream.end().await, Code::InvalidArgument);
    assert_eq!(database.count("user_logins").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_finishes_the_batches_it_took_and_ends_the_stream_as_unavailable() {
    let slow = "CREATE TABLE user_logins (user_id text);
                CREATE FUNCTION doze() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN PERFORM pg_sleep(0.5); RETURN NEW; END $$;
                CREATE TRIGGER doze BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION doze()";
    let database = TestDatabase::with(slow).await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    stream.send(vec![record(1, vec![null()])]).await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let stopped = writer.stop();
    let told = async {
        assert_eq!(stream.receipt().await.unwrap().outcomes, [STORED]);
        assert_eq!(stream.end().await, Code::Unavailable);
    };
    tokio::join!(stopped, told);
    assert_eq!(database.count("user_logins").await, 1);
}
