//! A record with an error is rejected or left, and all other records are stored.

use tonic::Code;
use veilpost_proto::v1::{MaskedRecord, Reason, Rejection};

use crate::masker::{DUPLICATE, LEFT, REJECTED, STORED, null, only_rejection, record, text};
use crate::test_database::TestDatabase;

fn thousand_with(poison: &str) -> Vec<MaskedRecord> {
    let value = |id: usize| if id == 613 { poison.to_owned() } else { format!("user-{id}") };
    (0..1000).map(|id| record(id, vec![text(&value(id))])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_record_among_a_thousand_is_rejected_and_the_others_stored() {
    let database = TestDatabase::with(
        "CREATE TABLE user_logins (user_id text CONSTRAINT no_poison CHECK (user_id <> 'poison'))",
    )
    .await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let receipt = stream.store(thousand_with("poison")).await;
    assert_eq!(receipt.outcomes[613], REJECTED);
    assert_eq!(
        only_rejection(&receipt),
        (
            Reason::Constraint,
            "violates the check constraint no_poison of table public.user_logins (SQLSTATE 23514)"
        )
    );
    assert_eq!(receipt.rejections[0].index, 613);
    assert_eq!(database.count("user_logins").await, 999);
    assert_eq!(database.count("veilpost.ledger WHERE rejected IS NULL").await, 999);
    assert_eq!(database.count("veilpost.ledger WHERE rejected = 9").await, 1, "the rejected record's key");
    let again = stream.store(thousand_with("poison")).await;
    assert_eq!(again.outcomes.iter().filter(|outcome| [DUPLICATE].contains(outcome)).count(), 999);
}

/// Every tenth record violates the constraint.
fn with_every_tenth(count: usize) -> Vec<MaskedRecord> {
    let value = |id: usize| if id % 10 == 3 { "poison".to_owned() } else { format!("user-{id}") };
    (0..count).map(|id| record(id, vec![text(&value(id))])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_with_many_poison_records_is_stored_in_few_transactions() {
    let setup = "CREATE TABLE user_logins (user_id text CONSTRAINT no_poison CHECK (user_id <> 'poison'),
                                           transaction timestamptz DEFAULT transaction_timestamp())";
    let database = TestDatabase::with(setup).await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let receipt = stream.store(with_every_tenth(1000)).await;
    for (id, outcome) in receipt.outcomes.iter().enumerate() {
        assert_eq!(*outcome, if id % 10 == 3 { REJECTED } else { STORED }, "record {id}");
    }
    assert_eq!(receipt.rejections.len(), 100);
    let blamed = |rejection: &Rejection| {
        rejection.detail
            == "violates the check constraint no_poison of table public.user_logins (SQLSTATE 23514)"
    };
    assert!(receipt.rejections.iter().all(blamed));
    let counts = "SELECT count(*) || ' ' || count(DISTINCT user_id) FROM user_logins";
    assert_eq!(database.text(counts).await, "900 900");
    assert_eq!(database.count("veilpost.ledger WHERE rejected IS NULL").await, 900);
    assert_eq!(database.count("veilpost.ledger WHERE rejected = 9").await, 100, "the rejected records' keys");
    // One, and one more for each second of searching; halving alone would take hundreds.
    let transactions = database.text("SELECT count(DISTINCT transaction)::text FROM user_logins").await;
    assert!(transactions.parse::<u32>().unwrap() <= 20, "{transactions} transactions");
}

#[tokio::test(flavor = "multi_thread")]
async fn unique_and_deferred_constraints_reject_the_record() {
    let setup = "CREATE TABLE known (id text PRIMARY KEY); INSERT INTO known VALUES ('a'), ('b');
                 CREATE TABLE user_logins (user_id text UNIQUE REFERENCES known DEFERRABLE INITIALLY DEFERRED)";
    let database = TestDatabase::with(setup).await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let ids = ["a", "unknown", "a", "b"];
    let records = ids.iter().enumerate().map(|(n, id)| record(n, vec![text(id)])).collect();
    let receipt = stream.store(records).await;
    assert_eq!(receipt.outcomes[1], REJECTED);
    assert_eq!(receipt.outcomes[3], STORED);
    assert_eq!(receipt.rejections.len(), 2, "one of the two a, and the unknown: {receipt:?}");
    assert_eq!(database.count("user_logins").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn null_is_rejected_where_it_is_not_allowed_unless_a_trigger_fills_it_in() {
    let database = TestDatabase::with("CREATE TABLE user_logins (user_id text NOT NULL)").await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let receipt = stream.store(vec![record(1, vec![null()])]).await;
    assert_eq!(only_rejection(&receipt), (Reason::Constraint, "column user_id: NULL is not allowed"));
    database
        .sql(
            "CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN NEW.user_id := coalesce(NEW.user_id, 'nobody'); RETURN NEW; END $$;
             CREATE TRIGGER fill BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION fill()",
        )
        .await;
    stream.send(vec![record(2, vec![null()])]).await;
    assert_eq!(stream.end().await, Code::Unavailable, "the definition has changed");
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    assert_eq!(stream.store(vec![record(2, vec![null()])]).await.outcomes, [STORED]);
    assert_eq!(database.text("SELECT user_id FROM user_logins").await, "nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_widened_column_rejects_nothing_by_its_old_length() {
    let database = TestDatabase::with("").await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["locale"]).await.unwrap();
    let long = || vec![record(1, vec![text(&"x".repeat(40))])];
    database.sql("ALTER TABLE user_logins ALTER locale TYPE varchar(64)").await;
    stream.send(long()).await;
    assert_eq!(stream.end().await, Code::Unavailable);
    let mut stream = writer.open("user_logins", &["locale"]).await.unwrap();
    assert_eq!(stream.store(long()).await.outcomes, [STORED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_column_ends_the_stream_with_its_name() {
    let database = TestDatabase::with("").await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["locale"]).await.unwrap();
    database.sql("ALTER TABLE user_logins DROP locale").await;
    stream.send(vec![record(1, vec![text("de")])]).await;
    let status = stream.receipt().await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("locale"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_on_which_a_trigger_fails_is_left_and_its_neighbours_stored() {
    let setup = "CREATE TABLE user_logins (user_id text);
                 CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN IF NEW.user_id = 'poison' THEN RAISE 'no'; END IF; RETURN NEW; END $$;
                 CREATE TRIGGER refuse BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION refuse()";
    let database = TestDatabase::with(setup).await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let receipt = stream.store(thousand_with("poison")).await;
    assert_eq!(receipt.outcomes[613], LEFT);
    assert_eq!(only_rejection(&receipt), (Reason::Undecided, "SQLSTATE P0001"));
    assert_eq!(database.count("user_logins").await, 999);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_arrives_alone_and_cannot_be_stored_is_held_until_others_are_stored() {
    let trigger = "CREATE TABLE user_logins (user_id text);
                   CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                       $$ BEGIN IF NEW.user_id = 'b' THEN RAISE 'no'; END IF; RETURN NEW; END $$;
                   CREATE TRIGGER refuse BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION refuse()";
    let partition = "CREATE TABLE user_logins (user_id text) PARTITION BY LIST (user_id);
                     CREATE TABLE part_a PARTITION OF user_logins FOR VALUES IN ('a')";
    let trigger_with_a_bad_statement = "CREATE TABLE user_logins (user_id text);
                   CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                       $$ BEGIN IF NEW.user_id = 'b' THEN EXECUTE 'SELECT FROM nowhere'; END IF; RETURN NEW; END $$;
                   CREATE TRIGGER refuse BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION refuse()";
    for setup in [trigger, partition, trigger_with_a_bad_statement] {
        let database = TestDatabase::with(setup).await;
        let writer = database.ready_writer(&["--connections", "1"]).await;
        let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
        stream.send(vec![record(1, vec![text("b")])]).await;
        let stored = stream.store(vec![record(2, vec![text("a")])]).await;
        assert_eq!((stored.batch_id, stored.outcomes), (2, vec![STORED]), "{setup}");
        let left = stream.receipt().await.unwrap();
        assert_eq!((left.outcomes.as_slice(), only_rejection(&left).0), (&[LEFT][..], Reason::Undecided));
        assert_eq!(database.count("veilpost.ledger").await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_a_partition_is_left_until_there_is_one() {
    let setup = "CREATE TABLE user_logins (user_id text) PARTITION BY LIST (user_id);
                 CREATE TABLE part_a PARTITION OF user_logins FOR VALUES IN ('a')";
    let database = TestDatabase::with(setup).await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let records = || vec![record(1, vec![text("a")]), record(2, vec![text("b")])];
    assert_eq!(stream.store(records()).await.outcomes, [STORED, LEFT]);
    database.sql("CREATE TABLE part_b PARTITION OF user_logins FOR VALUES IN ('b')").await;
    assert_eq!(stream.store(records()).await.outcomes, [DUPLICATE, STORED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_does_not_log_the_values_that_are_rejected() {
    let setup = "CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE odd (m mood, i inet, n int, d date, v varchar(9), j jsonb)";
    let database = TestDatabase::with(setup).await;
    let writer = database.ready_writer(&["--table", "odd"]).await;
    for column in ["m", "i", "n", "d", "v"] {
        let mut stream = writer.open("odd", &[column]).await.unwrap();
        let receipt = stream.store(vec![record(column, vec![text("marked-value-31337")])]).await;
        assert_eq!(receipt.outcomes, [REJECTED], "{column}");
        assert!(!only_rejection(&receipt).1.contains("31337"));
    }
    assert!(!database.postgres.log().contains("31337"), "{}", database.postgres.log());
    // The log would show it: otherwise this test could not fail.
    let mut connection = database.connect().await;
    let control =
        sqlx::raw_sql("INSERT INTO odd (m) VALUES ('control-value-4711')").execute(&mut connection).await;
    control.unwrap_err();
    assert!(database.postgres.log().contains("control-value-4711"));
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_logs_the_row_that_a_constraint_refuses_unless_the_role_may_set_the_verbosity() {
    let database =
        TestDatabase::with("CREATE TABLE user_logins (user_id text CHECK (user_id NOT LIKE 'row-%'))").await;
    let store = async |value: &str| {
        let writer = database.ready_writer(&[]).await;
        let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
        assert_eq!(stream.store(vec![record(value, vec![text(value)])]).await.outcomes, [REJECTED]);
    };
    store("row-of-a-plain-role").await;
    assert!(database.postgres.log().contains("row-of-a-plain-role"), "the documented limit");
    let mut admin = database.connect_as_admin().await;
    let version = sqlx::query_scalar("SELECT current_setting('server_version_num')::int");
    if version.fetch_one(&mut admin).await.is_ok_and(|version: i32| version < 150_000) {
        return;
    }
    let grant = format!("GRANT SET ON PARAMETER log_error_verbosity TO {}", database.name);
    sqlx::raw_sql(sqlx::AssertSqlSafe(grant)).execute(&mut admin).await.unwrap();
    store("row-of-a-granted-role").await;
    assert!(!database.postgres.log().contains("row-of-a-granted-role"));
}
