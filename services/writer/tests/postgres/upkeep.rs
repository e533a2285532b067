//! Upkeep of the ledger's slots.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use crate::masker::{DUPLICATE, STORED, null, record};
use crate::test_database::TestDatabase;

const FILLED: &str = "SELECT string_agg(DISTINCT slot::text, ' ') FROM veilpost.ledger";

/// A key in each slot: of today, of tomorrow and of the sixteen days before.
const FILL: &str = "
    INSERT INTO veilpost.ledger
    SELECT mod(day, 18), (lpad(to_hex(day * 86400000), 12, '0') || substr(md5(day::text), 1, 20))::uuid
    FROM (SELECT floor(extract(epoch FROM now()) / 86400)::bigint + n AS day FROM generate_series(-16, 1) n) days";

/// The slot that is idle at the true time, and nothing near midnight; computed in SQL, apart from the
/// writer's own code.
const IDLE: &str = "
    SELECT CASE WHEN extract(hour FROM now() AT TIME ZONE 'UTC') BETWEEN 1 AND 22
           THEN (mod(floor(extract(epoch FROM now()) / 86400)::int + 2, 18))::text END";

/// Moves the clock of one database, and notes who reads it.
const MOVED_CLOCK: &str = "
    CREATE TABLE public.readings (pid int);
    ALTER FUNCTION pg_catalog.clock_timestamp() RENAME TO right_clock;
    CREATE FUNCTION pg_catalog.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql SECURITY DEFINER AS
        $$ BEGIN INSERT INTO public.readings VALUES (pg_backend_pid()); RETURN now() + interval 'OFFSET'; END $$";

const RIGHT_CLOCK: &str = "
    DROP FUNCTION pg_catalog.clock_timestamp();
    ALTER FUNCTION pg_catalog.right_clock() RENAME TO clock_timestamp";

/// How many connections read the clock a second time, as only upkeep does, and have ended.
const UPKEPT: &str = "
    SELECT count(*)::text FROM (SELECT pid FROM public.readings GROUP BY pid HAVING count(*) > 1) read
    WHERE pid NOT IN (SELECT pid FROM pg_stat_activity)";

async fn wait_for(database: &TestDatabase, query: &str, is_it: impl Fn(&str) -> bool) {
    for _ in 0..600 {
        if is_it(&database.text(query).await) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("waited in vain for: {query}");
}

#[tokio::test(flavor = "multi_thread")]
async fn upkeep_empties_the_idle_slot_and_no_other() {
    let database = TestDatabase::with("").await;
    let role = database.create_writer_role().await;
    database.migrate(&["--grant-to", &role]).await.unwrap();
    database.sql(FILL).await;
    let idle = database.text(IDLE).await;
    let writers = [&role, &role].map(|role| database.start_writer_as(role, &["--migrate", "false"]));
    for (id, writer) in writers.iter().enumerate() {
        writer.wait_until_ready().await;
        let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
        assert_eq!(stream.store(vec![record(id, vec![null()])]).await.outcomes, [STORED]);
    }
    let everything = if idle == "NULL" { 18 } else { 17 };
    wait_for(&database, FILLED, |filled| filled.split(' ').count() == everything).await;
    for writer in writers {
        writer.stop().await;
    }
    let filled = database.text(FILLED).await;
    let mut expected: Vec<String> =
        (0..18).map(|slot| slot.to_string()).filter(|slot| *slot != idle).collect();
    expected.sort();
    assert_eq!(filled.split(' ').collect::<Vec<_>>(), expected, "idle: {idle}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_of_the_database_empties_nothing_and_no_message_is_stored_twice() {
    for offset in ["-2 days", "3 days"] {
        let database = TestDatabase::with("").await;
        database.migrate(&[]).await.unwrap();
        let writer = database.ready_writer(&[]).await;
        let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
        let records = || (0..20).map(|id| record(id, vec![null()])).collect();
        assert_eq!(stream.store(records()).await.outcomes, [STORED; 20]);
        writer.stop().await;
        database.sql(FILL).await;
        let before = database.text(FILLED).await;
        let mut admin = database.connect_as_admin().await;
        let moved = MOVED_CLOCK.replace("OFFSET", offset);
        sqlx::raw_sql(AssertSqlSafe(moved)).execute(&mut admin).await.unwrap();
        sqlx::raw_sql("GRANT SELECT ON public.readings TO PUBLIC").execute(&mut admin).await.unwrap();
        let writer = database.ready_writer(&[]).await;
        let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
        stream.send(records()).await;
        wait_for(&database, UPKEPT, |upkept| upkept != "0").await;
        writer.stop().await;
        assert_eq!(database.text(FILLED).await, before, "{offset}");
        sqlx::raw_sql(RIGHT_CLOCK).execute(&mut admin).await.unwrap();
        let writer = database.ready_writer(&[]).await;
        let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
        assert_eq!(stream.store(records()).await.outcomes, [DUPLICATE; 20], "{offset}");
        assert_eq!(database.count("user_logins").await, 20);
        writer.stop().await;
    }
}
