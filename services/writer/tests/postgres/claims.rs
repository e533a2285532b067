//! A rejection claims its key: what was stored is never rejected, and what was rejected is never stored.

use veilpost_proto::v1::{MaskedRecord, Reason, RejectedRecord};

use crate::masker::{DUPLICATE, REJECTED, STORED, now_ms, only_rejection, record, text};
use crate::test_database::TestDatabase;

const TABLE: &str = "CREATE TABLE user_logins (user_id varchar(8))";

fn named(id: &str, value: &str) -> MaskedRecord {
    record(id, vec![text(value)])
}

/// The same message as the masker rejects it.
fn rejected(record: &MaskedRecord, reason: Reason) -> RejectedRecord {
    RejectedRecord {
        message_id: record.message_id.clone(),
        sent_timestamp_ms: record.sent_timestamp_ms,
        reason: reason.into(),
        detail: "the masker's words".to_owned(),
        ..RejectedRecord::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_message_is_a_duplicate_after_its_column_was_narrowed() {
    let database = TestDatabase::with(TABLE).await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let records = || vec![named("a", "ada"), named("b", "eleonora")];
    assert_eq!(stream.store(records()).await.outcomes, [STORED; 2]);
    database.sql("ALTER TABLE user_logins ALTER user_id TYPE varchar(3) USING left(user_id, 3)").await;
    // The writer that has read the new definition rejects the second before any SQL.
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let receipt = stream.store(records()).await;
    assert_eq!((receipt.outcomes, receipt.rejections), (vec![DUPLICATE; 2], vec![]));
    let new = stream.store(vec![named("c", "eleonora")]).await;
    assert_eq!(only_rejection(&new).0, Reason::TextTooLong);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_message_stays_rejected_when_it_could_be_stored_later() {
    let database = TestDatabase::with(TABLE).await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let long = || named("long", "eleonora and ada");
    let receipt = stream.store(vec![named("a", "ada"), long(), long()]).await;
    assert_eq!(receipt.outcomes, [STORED, REJECTED, REJECTED]);
    database.sql("ALTER TABLE user_logins ALTER user_id TYPE text").await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let receipt = stream.store(vec![named("a", "ada"), long(), named("b", "bob")]).await;
    assert_eq!(receipt.outcomes, [DUPLICATE, REJECTED, STORED]);
    assert_eq!(only_rejection(&receipt), (Reason::TextTooLong, "rejected before"));
    assert_eq!(database.count("user_logins").await, 2);
    assert_eq!(database.count("veilpost.ledger WHERE rejected IS NULL").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_found_in_a_search_meets_a_stored_copy_and_a_rejected_one() {
    let checked = "CREATE TABLE user_logins (user_id text CONSTRAINT fit CHECK (user_id NOT LIKE '%!'))";
    let database = TestDatabase::with(checked).await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let (a, b) = (named("a", "ada"), named("b", "bob!"));
    assert_eq!(stream.store(vec![a.clone(), b.clone()]).await.outcomes, [STORED, REJECTED]);
    let changed =
        |record: &MaskedRecord, value: &str| MaskedRecord { values: vec![text(value)], ..record.clone() };
    // The stored one would be refused now, the rejected one would fit, and a new one is refused.
    let again = vec![changed(&a, "ada!"), changed(&b, "bob"), named("c", "cy!"), named("d", "dee")];
    let receipt = stream.store(again).await;
    assert_eq!(receipt.outcomes, [DUPLICATE, REJECTED, REJECTED, STORED]);
    assert_eq!(
        database.text("SELECT string_agg(user_id, ' ' ORDER BY user_id) FROM user_logins").await,
        "ada dee"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_masker_rejects_is_claimed_too() {
    let database = TestDatabase::with(TABLE).await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let (stored, new) = (named("stored", "ada"), named("new", "bob"));
    assert_eq!(stream.store(vec![stored.clone()]).await.outcomes, [STORED]);
    let reject = |record: &MaskedRecord| rejected(record, Reason::NotJson);
    stream
        .send_with_rejected(vec![named("c", "cy")], vec![reject(&new), reject(&stored), reject(&new)])
        .await;
    let receipt = stream.receipt().await.unwrap();
    assert_eq!(receipt.outcomes, [STORED, REJECTED, DUPLICATE, REJECTED]);
    assert!(receipt.rejections.iter().all(|known| known.detail == "the masker's words"));
    assert_eq!(stream.store(vec![new]).await.outcomes, [REJECTED], "its dead letter may be on its way");
    stream.send_with_rejected(vec![], vec![reject(&named("alone", "x"))]).await;
    assert_eq!(stream.receipt().await.unwrap().outcomes, [REJECTED]);
    assert_eq!(database.count("veilpost.ledger WHERE rejected = 2").await, 2);
    assert_eq!(database.count("user_logins").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_the_ledgers_window_only_the_last_receive_is_rejected() {
    let database = TestDatabase::with(TABLE).await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let old = |id: &str, last_receive: bool| RejectedRecord {
        sent_timestamp_ms: now_ms() - 20 * 24 * 60 * 60 * 1000,
        last_receive,
        ..rejected(&named(id, "x"), Reason::NotJson)
    };
    stream.send_with_rejected(vec![], vec![old("a", false), old("b", true)]).await;
    // While nothing else is stored, a clock may be wrong.
    let mut other = writer.open("user_logins", &["user_id"]).await.unwrap();
    other.send(vec![named("c", "x")]).await;
    assert_eq!(stream.receipt().await.unwrap().outcomes, [0, REJECTED]);
    assert_eq!(other.receipt().await.unwrap().outcomes, [STORED]);
    assert_eq!(database.count("veilpost.ledger WHERE rejected IS NOT NULL").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_store_and_reject_the_same_messages_at_once_agree() {
    let database = TestDatabase::with(TABLE).await;
    let writers = [database.ready_writer(&[]).await, database.ready_writer(&[]).await];
    let mut storing = writers[0].open("user_logins", &["user_id"]).await.unwrap();
    let mut rejecting = writers[1].open("user_logins", &["user_id"]).await.unwrap();
    let records: Vec<_> = (0..500).map(|id| named(&id.to_string(), "x")).collect();
    let claims = records.iter().map(|record| rejected(record, Reason::NotJson)).collect();
    let (stored, claimed) = tokio::join!(async { storing.store(records.clone()).await.outcomes }, async {
        rejecting.send_with_rejected(vec![], claims).await;
        rejecting.receipt().await.unwrap().outcomes
    });
    for (stored, claimed) in stored.iter().zip(&claimed) {
        assert!(
            [(STORED, DUPLICATE), (REJECTED, REJECTED)].contains(&(*stored, *claimed)),
            "{stored} {claimed}"
        );
    }
    let rows = stored.iter().map(|outcome| usize::from(*outcome == STORED)).sum::<usize>();
    assert_eq!(database.count("user_logins").await, rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mark_costs_no_room_and_an_older_writers_statement_still_runs() {
    let database = TestDatabase::with("").await;
    database.migrate(&[]).await.unwrap();
    // As a writer without marks inserts keys.
    let keys = "SELECT 3::smallint, gen_random_uuid() FROM generate_series(1, 10000)";
    database.sql(&format!("INSERT INTO veilpost.ledger (slot, key) {keys}")).await;
    database.sql(&format!("CREATE TABLE plain (slot smallint, key uuid); INSERT INTO plain {keys}")).await;
    let size = async |table: &str| database.text(&format!("SELECT pg_relation_size('{table}')::text")).await;
    assert_eq!(size("veilpost.ledger_3").await, size("plain").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_writers_own_role_may_claim_and_find_marks() {
    let database = TestDatabase::with(TABLE).await;
    let role = database.create_writer_role().await;
    database.migrate(&["--grant-to", &role]).await.unwrap();
    let writer = database.start_writer_as(&role, &["--migrate", "false"]);
    writer.wait_until_ready().await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let records = || vec![named("a", "ada"), named("b", "longer than eight")];
    assert_eq!(stream.store(records()).await.outcomes, [STORED, REJECTED]);
    assert_eq!(stream.store(records()).await.outcomes, [DUPLICATE, REJECTED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_waits_for_the_migration_that_adds_the_mark() {
    let database = TestDatabase::with("").await;
    database.migrate(&[]).await.unwrap();
    database.sql("ALTER TABLE veilpost.ledger DROP COLUMN rejected").await;
    let writer = database.start_writer(&["--migrate", "false"]);
    tokio::task::yield_now().await;
    assert!(!writer.life.is_ready());
    database.sql("ALTER TABLE veilpost.ledger ADD COLUMN rejected smallint").await;
    writer.wait_until_ready().await;
}
