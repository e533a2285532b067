//! A receipt waits until a synchronous standby has the rows, also when they were stored before.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};
use veilpost_testkit::eventually;

use crate::masker::{DUPLICATE, record, text};
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
