//! Starting: migrations, and what a writer waits for.

use std::time::Duration;

use crate::world::{STORED, World, null, record};

#[tokio::test(flavor = "multi_thread")]
async fn several_writers_may_start_at_once_on_an_empty_database() {
    let world = World::new("").await;
    let writers: Vec<_> = (0..5).map(|_| world.start(&[])).collect();
    for writer in &writers {
        writer.wait_until_ready().await;
    }
    assert_eq!(world.count("veilpost.migrations").await, 1);
    for writer in writers {
        writer.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_table_is_exactly_the_documented_one() {
    let world = World::new("").await;
    let _writer = world.ready(&[]).await;
    let columns = world
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
    assert_eq!(world.text(elsewhere).await, "public.user_logins");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_with_the_name_of_our_schema_makes_no_table_in_it() {
    let world = World { database: "veilpost".to_owned(), ..World::without_database() };
    world.create_database().await;
    let writer = world.ready(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    assert_eq!(stream.store(vec![record(1, vec![null()])]).await.outcomes, [STORED]);
    assert_eq!(world.count("public.user_logins").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_yet_is_waited_for() {
    let world = World::without_database();
    let writer = world.start(&[]);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!writer.life.is_ready());
    world.create_database().await;
    writer.wait_until_ready().await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    assert_eq!(stream.store(vec![record(1, vec![null()])]).await.outcomes, [STORED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_the_wait_cleanly() {
    let world = World::without_database();
    let writer = world.start(&[]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    writer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_would_lose_rows_in_a_crash_is_refused() {
    let world = World::new("CREATE UNLOGGED TABLE user_logins (user_id text)").await;
    let writer = world.start(&[]);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert!(!writer.life.is_ready());
    world.sql("ALTER TABLE user_logins SET LOGGED").await;
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
        let world = World::new(setup).await;
        let writer = world.start(&[]);
        tokio::time::sleep(Duration::from_millis(800)).await;
        assert!(!writer.life.is_ready(), "{setup}");
        writer.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_migrations_the_writer_waits_until_somebody_has_run_them() {
    let world = World::new("").await;
    let writer = world.start(&["--migrate", "false"]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!writer.life.is_ready());
    assert_eq!(world.text("SELECT to_regnamespace('veilpost')::text").await, "NULL");
    world.migrate(&[]).await.unwrap();
    world.migrate(&[]).await.unwrap();
    writer.wait_until_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_of_a_newer_version_does_not_stop_an_older_one() {
    let world = World::new("").await;
    world.ready(&[]).await.stop().await;
    world.sql("INSERT INTO veilpost.migrations VALUES (9999, 'newer', now(), true, '\\x00', 1)").await;
    world.ready(&[]).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_have_their_own_settings_whatever_the_role_says() {
    let setup = "CREATE TABLE user_logins (user_id text, at timestamptz, s text DEFAULT current_setting('synchronous_commit')
                     || ' ' || current_setting('transaction_isolation') || ' ' || current_setting('application_name'))";
    let world = World::new(setup).await;
    for setting in
        ["synchronous_commit = off", "default_transaction_isolation = serializable", "DateStyle = 'German'"]
    {
        world.sql(&format!("ALTER ROLE {} SET {setting}", world.database)).await;
    }
    world.sql(&format!("ALTER ROLE {} SET timezone = 'Asia/Tokyo'", world.database)).await;
    let writer = world.ready(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id", "at"]).await.unwrap();
    assert_eq!(
        stream.store(vec![record(1, vec![null(), crate::world::text("2024-01-02 00:00")])]).await.outcomes,
        [STORED]
    );
    assert_eq!(world.text("SELECT s FROM user_logins").await, "on read committed veilpost-writer");
    assert_eq!(
        world.text("SELECT (at AT TIME ZONE 'UTC')::date - '2024-01-02'::date || '' FROM user_logins").await,
        "0"
    );
}
