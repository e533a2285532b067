//! Errors that are not surely a record's: nothing is rejected for them. A record that fails while others are
//! stored is left; while nothing is stored, everything is held.

use std::pin::pin;

use tonic::Status;
use veilpost_proto::v1::{MaskedRecord, Reason, Receipt};
use veilpost_testkit::eventually;

use crate::masker::{LEFT, MaskerStream, REJECTED, STORED, only_rejection, record, text};
use crate::test_database::TestDatabase;

/// A default or a trigger calls this, and so each attempt to store a row can be counted: a sequence is not
/// rolled back.
const ATTEMPT: &str = "
    CREATE SEQUENCE attempts;
    CREATE FUNCTION attempt() RETURNS bigint LANGUAGE sql AS $$ SELECT nextval('attempts') $$;";

fn users(ids: impl IntoIterator<Item = usize>) -> Vec<MaskedRecord> {
    ids.into_iter().map(|id| record(id, vec![text(&format!("user-{id}"))])).collect()
}

/// A table with a trigger before each row.
fn table_with_trigger(body: &str) -> String {
    format!(
        "{ATTEMPT} CREATE TABLE user_logins (user_id text);
         CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM attempt(); {body} RETURN NEW; END $$;
         CREATE TRIGGER judge BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION judge()"
    )
}

/// Waits for this number of further attempts, during which no receipt may come.
async fn no_receipt_for(database: &TestDatabase, stream: &mut MaskerStream, attempts: i64) {
    let made = async || {
        database.text("SELECT CASE WHEN is_called THEN last_value ELSE 0 END::text FROM attempts").await
    };
    let before: i64 = made().await.parse().unwrap();
    let mut receipt = pin!(stream.receipt());
    let waited = eventually("further attempts", async || match made().await.parse::<i64>().unwrap() {
        now if now >= before + attempts => Ok(()),
        now => Err(format!("{now} attempts")),
    });
    tokio::select! {
        waited = waited => waited.unwrap(),
        early = &mut receipt => panic!("{:?}", early.map(|receipt| receipt.outcomes)),
    }
}

async fn receipts(stream: &mut MaskerStream, count: usize) -> Result<Vec<Receipt>, Status> {
    let mut receipts = Vec::new();
    for _ in 0..count {
        receipts.push(stream.receipt().await?);
    }
    receipts.sort_by_key(|receipt| receipt.batch_id);
    Ok(receipts)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_that_is_used_up_rejects_and_leaves_nothing() {
    let setup = format!(
        "{ATTEMPT} CREATE SEQUENCE ids MAXVALUE 2;
         CREATE TABLE user_logins (user_id text, id bigint DEFAULT 0 * nextval('attempts') + nextval('ids'));
         SELECT nextval('ids'); SELECT nextval('ids')"
    );
    let database = TestDatabase::with(&setup).await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    stream.send(users(0..100)).await;
    no_receipt_for(&database, &mut stream, 100).await;
    database.sql("ALTER SEQUENCE ids MAXVALUE 1000000").await;
    assert_eq!(stream.receipt().await.unwrap().outcomes, [STORED; 100]);
    assert_eq!(database.count("user_logins").await, 100);
    assert_eq!(database.count("veilpost.ledger WHERE rejected IS NULL").await, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_nobody_knows_is_pinned_to_its_records_and_the_others_are_stored() {
    let refuse = "IF NEW.user_id IN ('user-3', 'user-1099') THEN RAISE 'no' USING ERRCODE = 'U0001'; END IF;";
    let database = TestDatabase::with(&table_with_trigger(refuse)).await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let receipt = stream.store(users(0..1100)).await;
    let left: Vec<_> = (0..1100).filter(|id| receipt.outcomes[*id] != STORED).collect();
    assert_eq!(left, [3, 1099]);
    assert!(left.iter().all(|id| receipt.outcomes[*id] == LEFT));
    let known: Vec<_> =
        receipt.rejections.iter().map(|known| (known.reason(), known.detail.as_str())).collect();
    assert_eq!(known, [(Reason::Undecided, "SQLSTATE U0001"); 2]);
    assert_eq!(database.count("user_logins").await, 1098);
    assert_eq!(database.count("veilpost.ledger").await, 1098);
}

#[tokio::test(flavor = "multi_thread")]
async fn single_messages_into_a_table_whose_trigger_refuses_everything_are_all_held() {
    let database = TestDatabase::with(&table_with_trigger("RAISE 'closed';")).await;
    let writer = database.ready_writer(&["--connections", "2"]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    for id in 0..6 {
        stream.send(users([id])).await;
        no_receipt_for(&database, &mut stream, 4).await;
    }
    no_receipt_for(&database, &mut stream, 40).await;
    database.sql("DROP TRIGGER judge ON user_logins").await;
    let receipts = receipts(&mut stream, 6).await.unwrap();
    assert!(receipts.iter().all(|receipt| receipt.outcomes == [STORED]), "{receipts:?}");
    assert_eq!(database.count("user_logins").await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_stored_and_answered_while_others_are_held() {
    let refuse = "IF NEW.user_id LIKE '%-poison' THEN RAISE 'no' USING ERRCODE = '21000'; END IF;";
    let database = TestDatabase::with(&table_with_trigger(refuse)).await;
    let writer = database.ready_writer(&["--connections", "1"]).await;
    let mut held = writer.open("user_logins", &["user_id"]).await.unwrap();
    for id in 0..10 {
        held.send(vec![record(format!("held-{id}"), vec![text(&format!("{id}-poison"))])]).await;
    }
    no_receipt_for(&database, &mut held, 40).await;
    let mut other = writer.open("user_logins", &["user_id"]).await.unwrap();
    assert_eq!(other.store(users(0..5)).await.outcomes, [STORED; 5]);
    for receipt in receipts(&mut held, 10).await.unwrap() {
        assert_eq!(
            (receipt.outcomes.as_slice(), only_rejection(&receipt).0),
            (&[LEFT][..], Reason::Undecided)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unique_violation_in_another_table_through_a_trigger_rejects_nothing() {
    let setup = format!(
        "CREATE TABLE seen (user_id text PRIMARY KEY); INSERT INTO seen VALUES ('user-1'); {}",
        table_with_trigger("INSERT INTO seen VALUES (NEW.user_id);")
    );
    let database = TestDatabase::with(&setup).await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let receipt = stream.store(users(0..3)).await;
    assert_eq!(receipt.outcomes, [STORED, LEFT, STORED]);
    let detail = "SQLSTATE 23505, schema public, table seen, constraint seen_pkey";
    assert_eq!(only_rejection(&receipt), (Reason::Undecided, detail));
    database.sql("DELETE FROM seen").await;
    assert_eq!(stream.store(users([1])).await.outcomes, [STORED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_division_by_zero_in_a_generated_column_rejects_nothing() {
    let setup = "CREATE TABLE user_logins (user_id text,
                     share int GENERATED ALWAYS AS (1 / (length(user_id) - 8)) STORED)";
    let database = TestDatabase::with(setup).await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let receipt = stream.store(users([1, 100, 2])).await;
    assert_eq!(receipt.outcomes, [STORED, LEFT, STORED]);
    assert_eq!(only_rejection(&receipt), (Reason::Undecided, "SQLSTATE 22012"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_constraint_of_a_partition_or_of_a_columns_domain_rejects_and_one_of_another_domain_does_not() {
    let setup = format!(
        "{ATTEMPT} CREATE DOMAIN known AS text CHECK (VALUE <> 'user-1');
         CREATE DOMAIN other AS text CHECK (VALUE <> 'user-2');
         CREATE FUNCTION other_of(value text) RETURNS other LANGUAGE sql IMMUTABLE AS $$ SELECT value::other $$;
         CREATE TABLE user_logins (user_id known, copy text GENERATED ALWAYS AS (other_of(user_id)) STORED)
             PARTITION BY RANGE (user_id);
         CREATE SCHEMA parts;
         CREATE TABLE parts.all_of_them PARTITION OF user_logins FOR VALUES FROM (MINVALUE) TO (MAXVALUE);
         ALTER TABLE parts.all_of_them ADD CONSTRAINT not_three CHECK (user_id <> 'user-3')"
    );
    let database = TestDatabase::with(&setup).await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let receipt = stream.store(users(0..5)).await;
    assert_eq!(receipt.outcomes, [STORED, REJECTED, LEFT, REJECTED, STORED], "{receipt:?}");
    let mut details: Vec<_> =
        receipt.rejections.iter().map(|known| (known.index, known.reason(), known.detail.as_str())).collect();
    details.sort_by_key(|(index, ..)| *index);
    assert_eq!(
        details[0],
        (
            1,
            Reason::Constraint,
            "violates the check constraint known_check of domain public.known (SQLSTATE 23514)"
        )
    );
    assert_eq!(details[1].1, Reason::Undecided);
    assert_eq!(
        details[2],
        (
            3,
            Reason::Constraint,
            "violates the check constraint not_three of table parts.all_of_them (SQLSTATE 23514)"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_undecided_on_its_last_receive_is_rejected_with_what_is_known() {
    let refuse = "IF NEW.user_id = 'user-1' THEN RAISE 'no' USING ERRCODE = 'U0001'; END IF;";
    let database = TestDatabase::with(&table_with_trigger(refuse)).await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let mut records = users(0..3);
    records[1].last_receive = true;
    let receipt = stream.store(records.clone()).await;
    assert_eq!(receipt.outcomes, [STORED, REJECTED, STORED]);
    assert_eq!(only_rejection(&receipt), (Reason::Undecided, "SQLSTATE U0001"));
    assert_eq!(database.count("veilpost.ledger WHERE rejected = 11").await, 1);
    database.sql("DROP TRIGGER judge ON user_logins").await;
    let again = stream.store(records).await;
    assert_eq!(again.outcomes[1], REJECTED, "its dead letter may be on its way");
    assert_eq!(database.count("user_logins").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_claims_a_failure_of_the_infrastructure_stops_nobody() {
    for sqlstate in ["08006", "40001", "53100", "55000", "57P01", "58030", "42501"] {
        let refuse =
            format!("IF NEW.user_id = 'user-2' THEN RAISE 'no' USING ERRCODE = '{sqlstate}'; END IF;");
        let database = TestDatabase::with(&table_with_trigger(&refuse)).await;
        let writer = database.ready_writer(&["--connections", "1"]).await;
        let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
        let receipt = stream.store(users(0..4)).await;
        assert_eq!(receipt.outcomes, [STORED, STORED, LEFT, STORED], "{sqlstate}");
        assert_eq!(only_rejection(&receipt).0, Reason::Undecided);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_gives_back_what_is_held() {
    let database = TestDatabase::with(&table_with_trigger("RAISE 'closed';")).await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    stream.send(users([1])).await;
    no_receipt_for(&database, &mut stream, 5).await;
    let (end, ()) = tokio::join!(stream.end(), writer.stop());
    assert_eq!(end, tonic::Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_shows_parameters_with_errors_still_rejects_by_its_constraints() {
    let database =
        TestDatabase::with("CREATE TABLE user_logins (user_id text CHECK (user_id <> 'user-1'))").await;
    let show = format!("ALTER DATABASE {} SET log_parameter_max_length_on_error = -1", database.name);
    database.sql(&show).await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    assert_eq!(stream.store(users(0..3)).await.outcomes, [STORED, REJECTED, STORED]);
}
