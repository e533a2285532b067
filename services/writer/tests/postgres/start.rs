//! Starting: migrations, and what a writer waits for.

use std::time::Duration;

use crate::masker::{STORED, null, record};
use crate::test_database::TestDatabase;

#[tokio::test(flavor = "multi_thread")]
async fn several_writers_may_start_at_once_on_an_empty_database() {
    let database = TestDatabase::with("").await;
    let writers: Vec<_> = (0..5).map(|_| database.start_writer(&[])).collect();
    for writer in &writers {
        writer.wait_until_ready().await;
    }
    let migrated = "SELECT count(*) || ' ' || count(DISTINCT version) FROM veilpost.migrations WHERE success";
    assert_eq!(database.text(migrated).await, "3 3");
    for writer in writers {
        writer.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_table_is_exactly_the_documented_one() {
    let database = TestDatabase::with("").await;
    let _writer = database.ready_writer(&[]).await;
    let columns = database
        .text(
            "SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
             FROM pg_attribute WHERE attrelid = 'public.user_logins'::regclass AND attnum > 0",
        )
        .await;
    let expected = "user_id character varying(128), device_type character varying(32), \
                    masked_ip character varying(256), masked_device_id character varying(256), \
                    locale character varying(32), app_version integer, create_date date";
    assert_eq!(columns, expected);
    let elsewhere = "SELECT string_agg(nspname || '.' || relname, ' ') FROM pg_class c
                     JOIN pg_namespace n ON n.oid = relnamespace
                     WHERE nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema', 'veilpost')";
    assert_eq!(database.text(elsewhere).await, "public.user_logins");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_table_leaves_no_default_table_behind() {
    let setup = "CREATE SCHEMA events; CREATE TABLE events.logins (user_id text)";
    let database = TestDatabase::with(setup).await;
    database.migrate(&["--table", "events.logins"]).await.unwrap();
    database.ready_writer(&["--table", "events.logins"]).await.stop().await;
    assert_eq!(database.text("SELECT to_regclass('public.user_logins')::text").await, "NULL");
    database.ready_writer(&[]).await.stop().await;
    assert_eq!(database.count("public.user_logins").await, 0, "it is made when it is needed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_schema_public_stops_only_who_needs_a_table_in_it() {
    let setup = "CREATE SCHEMA events; CREATE TABLE events.logins (user_id text)";
    let database = TestDatabase::with(setup).await;
    let closed = "REVOKE ALL ON SCHEMA public FROM PUBLIC; ALTER SCHEMA public OWNER TO postgres";
    sqlx::raw_sql(closed).execute(&mut database.connect_as_admin().await).await.unwrap();
    database.ready_writer(&["--table", "events.logins"]).await.stop().await;
    let writer = database.start_writer(&[]);
    database.sql("CREATE TABLE events.user_logins (user_id text)").await;
    database.sql(&format!("ALTER ROLE {} SET search_path = events", database.name)).await;
    writer.wait_until_ready().await;
}

/// A database that the first edition of the first migration has made.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_an_earlier_version_is_migrated_further() {
    let database = TestDatabase::with("").await;
    database.migrate(&[]).await.unwrap();
    let first = "SELECT encode(checksum, 'hex') FROM veilpost.migrations WHERE version = 1";
    let known = "5a873f731f32bd1d6497f97a7753b1cfb767131961f9818a6c5f4404eb7763f8\
                 e453cb6235c4a1663033efb3bf5ec3bb";
    assert_eq!(database.text(first).await, known);
    database.sql("DELETE FROM veilpost.migrations WHERE version = 3").await;
    database.migrate(&[]).await.unwrap();
    assert_eq!(database.text("SELECT count(*)::text FROM veilpost.migrations").await, "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_named_like_the_schema_creates_no_table_in_it() {
    let database = TestDatabase { name: "veilpost".to_owned(), ..TestDatabase::not_created().await };
    database.create().await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    assert_eq!(stream.store(vec![record(1, vec![null()])]).await.outcomes, [STORED]);
    assert_eq!(database.count("public.user_logins").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_database_is_waited_for() {
    let database = TestDatabase::not_created().await;
    let writer = database.start_writer(&[]);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!writer.life.is_ready());
    database.create().await;
    writer.wait_until_ready().await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    assert_eq!(stream.store(vec![record(1, vec![null()])]).await.outcomes, [STORED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_the_wait_for_a_database() {
    let database = TestDatabase::not_created().await;
    let writer = database.start_writer(&[]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    writer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_would_lose_rows_in_a_crash_is_refused() {
    let database = TestDatabase::with("CREATE UNLOGGED TABLE user_logins (user_id text)").await;
    let writer = database.start_writer(&[]);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert!(!writer.life.is_ready());
    database.sql("ALTER TABLE user_logins SET LOGGED").await;
    writer.wait_until_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn views_and_partitions_that_are_unlogged_are_refused() {
    for setup in [
        "CREATE TABLE t (user_id text); CREATE VIEW user_logins AS SELECT * FROM t",
        "CREATE TABLE user_logins (user_id text) PARTITION BY LIST (user_id);
         CREATE UNLOGGED TABLE part PARTITION OF user_logins DEFAULT",
        "CREATE TABLE user_logins (user_id text); CREATE RULE r AS ON INSERT TO user_logins DO INSTEAD NOTHING",
    ] {
        let database = TestDatabase::with(setup).await;
        let writer = database.start_writer(&[]);
        tokio::time::sleep(Duration::from_millis(800)).await;
        assert!(!writer.life.is_ready(), "{setup}");
        writer.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_may_not_migrate_waits_until_somebody_has() {
    let database = TestDatabase::with("").await;
    let writer = database.start_writer(&["--migrate", "false"]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!writer.life.is_ready());
    assert_eq!(database.text("SELECT to_regnamespace('veilpost')::text").await, "NULL");
    database.migrate(&[]).await.unwrap();
    database.migrate(&[]).await.unwrap();
    writer.wait_until_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_of_a_newer_version_does_not_stop_an_older_one() {
    let database = TestDatabase::with("").await;
    database.ready_writer(&[]).await.stop().await;
    database.sql("INSERT INTO veilpost.migrations VALUES (9999, 'newer', now(), true, '\\x00', 1)").await;
    database.ready_writer(&[]).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_have_the_writers_settings_whatever_the_role_sets() {
    let setup = "CREATE TABLE user_logins (user_id text, at timestamptz, s text DEFAULT current_setting('synchronous_commit')
                     || ' ' || current_setting('transaction_isolation') || ' ' || current_setting('application_name'))";
    let database = TestDatabase::with(setup).await;
    for setting in
        ["synchronous_commit = off", "default_transaction_isolation = serializable", "DateStyle = 'German'"]
    {
        database.sql(&format!("ALTER ROLE {} SET {setting}", database.name)).await;
    }
    database.sql(&format!("ALTER ROLE {} SET timezone = 'Asia/Tokyo'", database.name)).await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id", "at"]).await.unwrap();
    assert_eq!(
        stream.store(vec![record(1, vec![null(), crate::masker::text("2024-01-02 00:00")])]).await.outcomes,
        [STORED]
    );
    assert_eq!(database.text("SELECT s FROM user_logins").await, "on read committed veilpost-writer");
    assert_eq!(
        database
            .text("SELECT (at AT TIME ZONE 'UTC')::date - '2024-01-02'::date || '' FROM user_logins")
            .await,
        "0"
    );
}
