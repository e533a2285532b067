//! What the writer's role may do for `on_conflict`: what a target needs, and nothing without one.

use sqlx::{AssertSqlSafe, PgConnection};
use tonic::Code;

use crate::masker::STORED;
use crate::test_database::TestDatabase;
use crate::upserts::{IGNORE, NEWEST, ORDERS, order};

/// A writer whose role has the grants of `migrate` with these arguments, and the role.
async fn writer_with(
    database: &TestDatabase,
    arguments: &[&str],
) -> (crate::running_writer::RunningWriter, String) {
    let role = database.create_writer_role().await;
    let own = ["--grant-to", &role, "--table", "orders"];
    database.migrate(&[&own, arguments].concat()).await.unwrap();
    let writer = database.start_writer_as(&role, &["--migrate", "false", "--table", "orders"]);
    writer.wait_until_ready().await;
    (writer, role)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_named_with_the_grant_that_is_enough() {
    for (rule, lacking) in [(IGNORE, "SELECT (id)"), (NEWEST, "SELECT (id, at, status), UPDATE (at, status)")]
    {
        let database = TestDatabase::with(ORDERS).await;
        let (writer, role) = writer_with(&database, &[]).await;
        let refused = writer.open_orders(rule).await.err().unwrap();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        let grant = format!("GRANT {lacking} ON TABLE public.orders TO {role}");
        assert!(refused.message().contains(&format!("`{grant}`")), "{refused}");
        assert!(writer.open("orders", &["id"]).await.is_ok(), "nothing else is refused");
        database.sql(&grant).await;
        let mut stream = writer.open_orders(rule).await.unwrap();
        let batch = vec![order("1", "k", "1", "old"), order("2", "k", "2", "new")];
        assert_eq!(stream.store(batch).await.outcomes, [STORED; 2]);
    }
}

/// Postgres asks for each of them.
#[tokio::test(flavor = "multi_thread")]
async fn no_right_is_asked_for_that_is_not_needed() {
    for (rule, rights) in [
        (IGNORE, &["SELECT (id)"][..]),
        (NEWEST, &["SELECT (id)", "SELECT (at)", "SELECT (status)", "UPDATE (at)", "UPDATE (status)"]),
    ] {
        for revoked in rights {
            let database = TestDatabase::with(ORDERS).await;
            let arguments = ["--on-conflict-key", "id", "--on-conflict-update", "at,status"];
            let (writer, role) = writer_with(&database, &arguments).await;
            let mut stream = writer.open_orders(rule).await.unwrap();
            assert_eq!(stream.store(vec![order("1", "k", "1", "old")]).await.outcomes, [STORED]);
            database.sql(&format!("REVOKE {revoked} ON orders FROM {role}")).await;
            stream.send(vec![order("2", "k", "2", "new")]).await;
            let ended = stream.receipt().await.expect_err("Postgres refuses the statement");
            assert_eq!(ended.code(), Code::FailedPrecondition, "{revoked}");
            let grant = format!("`GRANT {revoked} ON TABLE public.orders TO {role}`");
            assert!(ended.message().contains(&grant), "{ended}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_gets_rights_on_columns_only_when_asked_for() {
    for (arguments, allowed) in [
        (&[][..], &[][..]),
        (&["--on-conflict-key", "id"], &["SELECT id FROM orders"]),
        (
            &["--on-conflict-key", "id", "--on-conflict-update", "status"],
            &["SELECT id FROM orders", "SELECT status FROM orders", "UPDATE orders SET status = ''"],
        ),
    ] {
        let database = TestDatabase::with(ORDERS).await;
        let role = database.create_writer_role().await;
        let own = ["--grant-to", &role, "--table", "orders"];
        database.migrate(&[&own, arguments].concat()).await.unwrap();
        let mut connection = database.connect_as(&role).await;
        for statement in [
            "SELECT id FROM orders",
            "SELECT status FROM orders",
            "SELECT at FROM orders",
            "UPDATE orders SET status = ''",
            "UPDATE orders SET id = ''",
            "UPDATE orders SET at = 1",
            "DELETE FROM orders",
        ] {
            assert_eq!(
                is_allowed(&mut connection, statement).await,
                allowed.contains(&statement),
                "{statement} with {arguments:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_is_not_there_is_named() {
    let database = TestDatabase::with(ORDERS).await;
    let role = database.create_writer_role().await;
    let arguments = ["--grant-to", &role, "--table", "orders", "--on-conflict-key", "order_id"];
    let refused = format!("{:#}", database.migrate(&arguments).await.unwrap_err());
    assert!(refused.contains("table public.orders has no column order_id"), "{refused}");
}

async fn is_allowed(connection: &mut PgConnection, sql: &str) -> bool {
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await;
    done.map_err(|error| assert_eq!(error.as_database_error().unwrap().code().unwrap(), "42501")).is_ok()
}
