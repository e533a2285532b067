//! A receipt waits until a synchronous standby has the rows, also when they were stored before.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};
use veilpost_testkit::eventually;

use crate::masker::{DUPLICATE, REJECTED, STORED, record, text};
use crate::test_database::TestDatabase;

/// The backend of the writer whose commit waits for a standby.
async fn waiting_backend(admin: &mut PgConnection) -> Option<i32> {
    let sql = "SELECT pid FROM pg_stat_activity
               WHERE wait_event = 'SyncRep' AND application_name = 'veilpost-writer'";
    sqlx::query_scalar(sql).fetch_optional(admin).await.unwrap()
}

async fn wait_for_waiting_backend(admin: &mut PgConnection) -> i32 {
    eventually("a commit that waits for the standby", async || {
        waiting_backend(admin).await.ok_or_else(|| "no commit waits".to_owned())
    })
    .await
    .unwrap()
}

/// Commits of the server wait for this standby; none is there, as after it was cut off.
async fn set_standby(admin: &mut PgConnection, name: &str) {
    let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'");
    for statement in [set.as_str(), "SELECT pg_reload_conf()"] {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *admin).await.unwrap();
    }
}

async fn cancel(admin: &mut PgConnection, pid: i32) {
    sqlx::query("SELECT pg_cancel_backend($1)").bind(pid).execute(&mut *admin).await.unwrap();
}

async fn wait_for_another_wait(admin: &mut PgConnection) {
    // A cancelled wait is over at once; the barrier then waits on the same connection.
    eventually("the cancelled wait is over", async || {
        let sql = "SELECT query LIKE 'SELECT pg_catalog.pg_logical_emit_message%' FROM pg_stat_activity
                   WHERE wait_event = 'SyncRep' AND application_name = 'veilpost-writer'";
        match sqlx::query_scalar(sql).fetch_optional(&mut *admin).await.unwrap() {
            Some(true) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
}

/// The layer by which the writer learns of warnings, as every service has it.
fn watch_notices() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| veilpost_runtime::telemetry::watch_notices().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_wait_is_cancelled_is_not_receipted_until_the_standby_has_it() {
    watch_notices();
    let setup = "CREATE TABLE user_logins (user_id text CHECK (user_id <> 'poison'))";
    // A plain statement, a search, and a claim: each has a commit of its own.
    let batches: [(&[&str], &[u8]); 3] = [
        (&["a", "b"], &[STORED, STORED]),
        (&["c", "poison", "d"], &[STORED, REJECTED, STORED]),
        (&["a"], &[DUPLICATE]),
    ];
    let database = TestDatabase::alone().await;
    database.sql(setup).await;
    let writer = database.ready_writer(&["--connections", "1"]).await;
    let mut admin = database.connect_as_admin().await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    for (ids, expected) in batches {
        set_standby(&mut admin, "a_standby_that_is_cut_off").await;
        let store = async { stream.store(ids.iter().map(|id| record(id, vec![text(id)])).collect()).await };
        tokio::pin!(store);
        let interrupt = async {
            for _ in 0..3 {
                let waiting = wait_for_waiting_backend(&mut admin).await;
                cancel(&mut admin, waiting).await;
                wait_for_another_wait(&mut admin).await;
            }
        };
        tokio::select! {
            receipt = &mut store => panic!("a receipt without the standby: {:?}", receipt.outcomes),
            () = interrupt => {}
        }
        set_standby(&mut admin, "").await;
        assert_eq!(store.await.outcomes, expected);
    }
    assert_eq!(database.count("user_logins").await, 4);
    writer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_of_a_trigger_change_no_outcome() {
    watch_notices();
    let setup = "CREATE TABLE user_logins (user_id text CHECK (user_id <> 'poison'));
                 CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN RAISE WARNING '%', NEW.user_id; RETURN NEW; END $$;
                 CREATE TRIGGER warn BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION warn()";
    let database = TestDatabase::with(setup).await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let records = || ["a", "poison", "b"].map(|id| record(id, vec![text(id)])).to_vec();
    assert_eq!(stream.store(records()).await.outcomes, [STORED, REJECTED, STORED]);
    assert_eq!(stream.store(records()).await.outcomes, [DUPLICATE, REJECTED, DUPLICATE]);
    assert_eq!(database.count("user_logins").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_only_the_primary_has_are_not_reported_as_duplicates() {
    let database = TestDatabase::alone().await;
    let writer = database.ready_writer(&["--connections", "1"]).await;
    let mut admin = database.connect_as_admin().await;
    set_standby(&mut admin, "a_standby_that_is_cut_off").await;

    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let records = (0..20).map(|id| record(id, vec![text(&format!("user-{id}"))])).collect();
    let store = async { stream.store(records).await };
    tokio::pin!(store);
    let interrupt = async {
        let waiting = wait_for_waiting_backend(&mut admin).await;
        // The rows are committed on the primary now, and nobody has told the writer.
        sqlx::query("SELECT pg_terminate_backend($1)").bind(waiting).execute(&mut admin).await.unwrap();
        eventually("the first connection ends", async || match waiting_backend(&mut admin).await {
            Some(pid) if pid == waiting => Err("it still waits".to_owned()),
            _ => Ok(()),
        })
        .await
        .unwrap();
        wait_for_waiting_backend(&mut admin).await;
    };
    tokio::select! {
        receipt = &mut store => panic!("a receipt without the standby: {:?}", receipt.outcomes),
        () = interrupt => {}
    }
    let early = tokio::time::timeout(Duration::from_millis(500), &mut store).await;
    assert!(early.is_err(), "a receipt without the standby");

    set_standby(&mut admin, "").await;
    let outcomes = store.await.outcomes;
    assert!(outcomes.iter().all(|outcome| *outcome == DUPLICATE), "{outcomes:?}");
    assert_eq!(database.count("user_logins").await, 20);
    writer.stop().await;
}
