//! How streams begin and end.

use tonic::Code;
use veilpost_proto::v1::{MaskedBatch, Target};

use crate::world::{STORED, World, null, record, text};

#[tokio::test(flavor = "multi_thread")]
async fn unknown_and_unusable_names_end_the_stream_with_the_name() {
    let setup = "CREATE TABLE odd (a text, tags text[], n int GENERATED ALWAYS AS (1) STORED,
                                   i int GENERATED ALWAYS AS IDENTITY, u user_logins)";
    let world = World::new(&format!("CREATE TABLE user_logins (a text); {setup}")).await;
    let writer = world.ready(&["--table", "public.odd"]).await;
    for (table, column, named) in [
        ("other", "a", "other"),
        ("veilpost.ledger", "key", "veilpost.ledger"),
        ("odd", "nope", "nope"),
        ("odd", "A", "A"),
        ("odd", "tags", "tags"),
        ("odd", "n", "n"),
        ("odd", "i", "i"),
        ("odd", "u", "u"),
        ("odd", "ctid", "ctid"),
    ] {
        let status = writer.open(table, &[column]).await.err().unwrap();
        assert_eq!(status.code(), Code::FailedPrecondition, "{table}.{column}");
        assert!(status.message().contains(named), "{status}");
    }
    assert!(writer.open("odd", &["a"]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_added_later_is_found() {
    let world = World::new("").await;
    let writer = world.ready(&[]).await;
    assert!(writer.open("user_logins", &["country"]).await.is_err());
    world.sql("ALTER TABLE user_logins ADD country text").await;
    let mut stream = writer.open("user_logins", &["country"]).await.unwrap();
    assert_eq!(stream.store(vec![record(1, vec![text("FR")])]).await.outcomes, [STORED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_message_is_the_target_and_nothing_else() {
    let world = World::new("").await;
    let writer = world.ready(&[]).await;
    let target = Some(Target { table: "user_logins".into(), columns: vec!["user_id".into()] });
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
    let world = World::new("").await;
    let writer = world.ready(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    stream.send(vec![record(1, vec![null()]), record(2, vec![null(), null()])]).await;
    assert_eq!(stream.end().await, Code::InvalidArgument);
    assert_eq!(world.count("user_logins").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_finishes_what_was_taken_and_says_unavailable() {
    let slow = "CREATE TABLE user_logins (user_id text);
                CREATE FUNCTION doze() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN PERFORM pg_sleep(0.5); RETURN NEW; END $$;
                CREATE TRIGGER doze BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION doze()";
    let world = World::new(slow).await;
    let writer = world.ready(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    stream.send(vec![record(1, vec![null()])]).await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let stopped = writer.stop();
    let told = async {
        assert_eq!(stream.receipt().await.unwrap().outcomes, [STORED]);
        assert_eq!(stream.end().await, Code::Unavailable);
    };
    tokio::join!(stopped, told);
    assert_eq!(world.count("user_logins").await, 1);
}
