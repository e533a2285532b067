//! The grants of `migrate --grant-to`: they suffice for a writer, and allow nothing else.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};
use veilpost_proto::v1::Reason;
use veilpost_testkit::SharedPostgres;

use crate::masker::{DUPLICATE, STORED, null, only_rejection, record, text};
use crate::test_database::TestDatabase;

/// A serial column and a type that only Postgres can judge, in a schema of its own.
const OWN_TABLE: &str = "
    CREATE SCHEMA events; CREATE TYPE mood AS ENUM ('sad');
    CREATE TABLE events.logins (id serial, at timestamptz DEFAULT now(), user_id text, mood mood);
    CREATE TABLE secrets (id text)";

/// Every privilege that a role has been granted.
const GRANTED: &str = "
    SELECT string_agg(what, ', ' ORDER BY what) FROM (
        SELECT a.privilege_type || ' ' || c.oid::regclass AS what, a.grantee FROM pg_class c, aclexplode(c.relacl) a
      UNION ALL
        SELECT a.privilege_type || ' ' || n.nspname, a.grantee FROM pg_namespace n, aclexplode(n.nspacl) a
      UNION ALL
        SELECT a.privilege_type || ' ' || p.oid::regproc, a.grantee FROM pg_proc p, aclexplode(p.proacl) a
      UNION ALL
        SELECT a.privilege_type || ' ' || d.datname, a.grantee FROM pg_database d, aclexplode(d.datacl) a
        WHERE d.datname = current_database()
    ) granted WHERE grantee = ";

#[tokio::test(flavor = "multi_thread")]
async fn the_grants_suffice_for_a_writer() {
    let database = TestDatabase::with(OWN_TABLE).await;
    let role = database.create_writer_role().await;
    database.migrate(&["--grant-to", &role, "--table", "events.logins"]).await.unwrap();
    let writer = database.start_writer_as(&role, &["--migrate", "false", "--table", "events.logins"]);
    writer.wait_until_ready().await;
    let mut stream = writer.open("events.logins", &["user_id", "mood"]).await.unwrap();
    let records = || (1..=2).map(|id| record(id, vec![text("a"), text("sad")])).collect();
    assert_eq!(stream.store(records()).await.outcomes, [STORED; 2]);
    assert_eq!(stream.store(records()).await.outcomes, [DUPLICATE; 2]);
    let refused = stream.store(vec![record(3, vec![text("a"), text("merry")])]).await;
    assert_eq!(only_rejection(&refused).0, Reason::InvalidValue);
    database.sql("ALTER TABLE events.logins ADD COLUMN locale text").await;
    let mut stream = writer.open("events.logins", &["locale"]).await.unwrap();
    assert_eq!(stream.store(vec![record(4, vec![null()])]).await.outcomes, [STORED]);
    assert_eq!(database.count("events.logins").await, 3);
    writer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grants_are_exactly_the_documented_ones() {
    let database = TestDatabase::with(OWN_TABLE).await;
    let role = database.create_writer_role().await;
    database.migrate(&["--grant-to", &role, "--table", "events.logins"]).await.unwrap();
    let leaves =
        (0..18).flat_map(|slot| ["SELECT", "TRUNCATE"].map(|may| format!("{may} veilpost.ledger_{slot}")));
    let others = [
        "EXECUTE veilpost.input_error",
        "INSERT events.logins",
        "INSERT veilpost.ledger",
        "SELECT veilpost.ledger",
        "USAGE events",
        "USAGE events.logins_id_seq",
        "USAGE veilpost",
    ];
    let mut expected: Vec<String> = leaves.chain(others.map(str::to_owned)).collect();
    let granted = database.text(&format!("{GRANTED} '{role}'::regrole")).await;
    let mut granted: Vec<&str> = granted.split(", ").collect();
    expected.sort_unstable();
    granted.sort_unstable();
    assert_eq!(granted, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_writers_role_cannot_read_change_or_create_anything_else() {
    let database = TestDatabase::with(&format!("{OWN_TABLE}; CREATE TABLE user_logins (user_id text)")).await;
    let role = database.create_writer_role().await;
    database.migrate(&["--grant-to", &role]).await.unwrap();
    let mut connection = database.connect_as(&role).await;
    for refused in [
        "SELECT user_id FROM user_logins",
        "SELECT FROM user_logins",
        "INSERT INTO user_logins VALUES ('a') RETURNING user_id",
        "COPY user_logins TO STDOUT",
        "UPDATE user_logins SET user_id = 'a'",
        "DELETE FROM user_logins",
        "TRUNCATE user_logins",
        "SELECT 1; LOCK TABLE user_logins IN ACCESS EXCLUSIVE MODE",
        "DROP TABLE user_logins",
        "ALTER TABLE user_logins ADD COLUMN x text",
        "CREATE TRIGGER t BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE INDEX ON user_logins (user_id)",
        "SELECT FROM secrets",
        "INSERT INTO secrets VALUES ('a')",
        "SELECT FROM veilpost.migrations",
        "DELETE FROM veilpost.ledger",
        "UPDATE veilpost.ledger SET slot = 1",
        "TRUNCATE veilpost.ledger",
        "DELETE FROM veilpost.ledger_1",
        "DROP TABLE veilpost.ledger_1",
        "CREATE TABLE veilpost.mine (x text)",
        "CREATE FUNCTION veilpost.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE OR REPLACE FUNCTION veilpost.input_error(value text, type oid, typmod integer) RETURNS text
             LANGUAGE sql AS 'SELECT NULL'",
        "CREATE SCHEMA mine",
        "CREATE TABLE events.mine (x text)",
        "CREATE ROLE mine",
        "COPY (SELECT 1) TO '/dev/null'",
        "SELECT pg_read_file('/etc/passwd')",
    ] {
        assert_eq!(refusal(&mut connection, refused).await.as_deref(), Some("42501"), "{refused}");
    }
    let mine = "SELECT count(*)::text FROM pg_class WHERE relowner = current_user::regrole";
    let mine: String = sqlx::query_scalar(mine).fetch_one(&mut connection).await.unwrap();
    assert_eq!(mine, "0");
    let allowed = "INSERT INTO user_logins VALUES ('a')";
    assert_eq!(refusal(&mut connection, allowed).await, None, "or this test could not fail");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_of_writer_role_sql_cannot_even_create_a_temporary_table() {
    let database = TestDatabase::with("").await;
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "it's a \\ secret\n").unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/postgres/writer-role.sql");
    for _ in 0..2 {
        let url = database.postgres.url(SharedPostgres::SUPERUSER, &database.name);
        let mut psql = std::process::Command::new("psql");
        psql.args(["-X", "-q", "-f", script, &url]).env("WRITER_PASSWORD_FILE", password.path());
        let done = psql.output().expect("psql comes with Postgres");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    database.migrate(&["--grant-to", "veilpost_writer"]).await.unwrap();
    let mut connection = database.connect_as("veilpost_writer").await;
    for refused in ["CREATE TEMPORARY TABLE mine (x text)", "CREATE TABLE mine (x text)"] {
        assert_eq!(refusal(&mut connection, refused).await.as_deref(), Some("42501"), "{refused}");
    }
    let is_new = database.text("SELECT (current_setting('server_version_num')::int >= 150000)::text").await;
    let quiet = refusal(&mut connection, "SET log_error_verbosity = terse").await;
    assert_eq!(quiet.is_none(), is_new == "true");
    let right = "SELECT count(*)::text FROM pg_authid WHERE rolname = 'veilpost_writer' AND rolpassword LIKE 'SCRAM-%'";
    let right: String =
        sqlx::query_scalar(right).fetch_one(&mut database.connect_as_admin().await).await.unwrap();
    assert_eq!(right, "1", "the password is set");
    assert!(!database.postgres.log().contains("a \\ secret"));
    let writer = database.start_writer_as("veilpost_writer", &["--migrate", "false"]);
    writer.wait_until_ready().await;
    writer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_migrations_may_grant_at_once_and_revoke_what_is_too_much() {
    let database = TestDatabase::with("").await;
    let role = database.create_writer_role().await;
    database.migrate(&[]).await.unwrap();
    database.sql(&format!("GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA veilpost TO {role}")).await;
    let arguments = ["--grant-to", &role];
    let grant = || database.migrate(&arguments);
    let (one, two, three, four) = tokio::join!(grant(), grant(), grant(), grant());
    for done in [one, two, three, four] {
        done.unwrap();
    }
    let mut connection = database.connect_as(&role).await;
    for refused in ["SELECT FROM veilpost.migrations", "UPDATE veilpost.ledger SET slot = 1"] {
        assert_eq!(refusal(&mut connection, refused).await.as_deref(), Some("42501"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_role_is_waited_for_and_the_owners_own_role_is_refused() {
    let database = TestDatabase::with("").await;
    let itself = database.migrate(&["--grant-to", &database.name]).await.unwrap_err();
    assert!(format!("{itself:#}").contains("is the role that migrates"), "{itself:#}");
    let role = format!("{}_writer", database.name);
    let arguments = ["--grant-to", &role];
    let waits = database.migrate(&arguments);
    let comes = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        database.create_writer_role().await;
    };
    let (granted, ()) = tokio::join!(waits, comes);
    granted.unwrap();
}

/// The SQLSTATE with which a statement is refused.
async fn refusal(connection: &mut PgConnection, sql: &str) -> Option<String> {
    let error = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.err()?;
    Some(error.as_database_error().expect("Postgres answers").code().unwrap().into_owned())
}
