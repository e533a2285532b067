//! Whoever may create in a schema of the search path cannot make the writer run what they wrote.

use sqlx::{AssertSqlSafe, PgConnection};
use veilpost_proto::v1::{ConflictAction, OnConflict, Reason, Target};

use crate::masker::{DUPLICATE, STORED, names, number, only_rejection, record, text};
use crate::test_database::TestDatabase;

/// Everybody may create in schema public, as in Postgres 14. Mood is judged by Postgres alone.
const OPEN: &str = "
    CREATE SCHEMA events; CREATE TYPE events.mood AS ENUM ('sad');
    CREATE TABLE events.logins (id serial, user_id text, mood events.mood, at timestamptz);
    CREATE TABLE events.orders (id numeric(5,1) PRIMARY KEY, status text, at timestamptz(3))";

/// Shadows everything that has a name: the functions that give a better match than the polymorphic ones of
/// the catalogue, each function and operator of the catalogue whose types allow it, its types and its tables.
/// All of them raise.
const TRAPS: &str = "
    CREATE FUNCTION public.unnest(pg_catalog.text[]) RETURNS SETOF pg_catalog.text LANGUAGE plpgsql AS
        $$ BEGIN RAISE 'hijacked'; END $$;
    CREATE FUNCTION public.unnest(pg_catalog.uuid[]) RETURNS SETOF pg_catalog.uuid LANGUAGE plpgsql AS
        $$ BEGIN RAISE 'hijacked'; END $$;
    CREATE FUNCTION public.unnest(pg_catalog.int2[]) RETURNS SETOF pg_catalog.int2 LANGUAGE plpgsql AS
        $$ BEGIN RAISE 'hijacked'; END $$;
    CREATE FUNCTION public.format(pg_catalog.text, pg_catalog.text) RETURNS pg_catalog.text LANGUAGE plpgsql AS
        $$ BEGIN RAISE 'hijacked'; END $$;
    CREATE FUNCTION public.format(pg_catalog.text, pg_catalog.int4, pg_catalog.int4) RETURNS pg_catalog.text
        LANGUAGE plpgsql AS $$ BEGIN RAISE 'hijacked'; END $$;
    CREATE FUNCTION public.trap() RETURNS pg_catalog.bool LANGUAGE plpgsql AS
        $$ BEGIN RAISE 'hijacked'; END $$;
    DO $traps$
    DECLARE found record;
    BEGIN
        FOR found IN
            SELECT p.proname AS name, pg_catalog.oidvectortypes(p.proargtypes) AS arguments,
                   pg_catalog.format_type(p.prorettype, NULL) AS result
            FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND p.prokind = 'f'
        LOOP
            BEGIN
                EXECUTE pg_catalog.format('CREATE FUNCTION public.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L',
                    found.name, found.arguments, found.result, 'BEGIN RAISE ''hijacked''; END');
            EXCEPTION WHEN OTHERS THEN NULL;
            END;
        END LOOP;
        FOR found IN
            SELECT o.oprname AS name, o.oprleft AS l, o.oprright AS r, o.oprresult AS result FROM pg_catalog.pg_operator o
            WHERE o.oprnamespace = 'pg_catalog'::pg_catalog.regnamespace AND o.oprkind = 'b'
        LOOP
            BEGIN
                EXECUTE pg_catalog.format('CREATE FUNCTION public.%I(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L',
                    'op_' OPERATOR(pg_catalog.||) pg_catalog.md5(found.name),
                    found.l::pg_catalog.regtype, found.r::pg_catalog.regtype, found.result::pg_catalog.regtype,
                    'BEGIN RAISE ''hijacked''; END');
                EXECUTE pg_catalog.format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = public.%I)',
                    found.name, found.l::pg_catalog.regtype, found.r::pg_catalog.regtype,
                    'op_' OPERATOR(pg_catalog.||) pg_catalog.md5(found.name));
            EXCEPTION WHEN OTHERS THEN NULL;
            END;
        END LOOP;
        FOR found IN
            SELECT t.typname AS name FROM pg_catalog.pg_type t
            WHERE t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace AND t.typtype = 'b' AND t.typcategory <> 'A'
        LOOP
            BEGIN
                EXECUTE pg_catalog.format('CREATE DOMAIN public.%I AS pg_catalog.int8 CHECK (public.trap())', found.name);
            EXCEPTION WHEN OTHERS THEN NULL;
            END;
        END LOOP;
        FOR found IN
            SELECT c.relname AS name FROM pg_catalog.pg_class c
            WHERE c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace AND c.relkind IN ('r', 'v')
        LOOP
            BEGIN
                EXECUTE pg_catalog.format('CREATE VIEW public.%I AS SELECT x.* FROM pg_catalog.%I x WHERE public.trap()',
                    found.name, found.name);
            EXCEPTION WHEN OTHERS THEN NULL;
            END;
        END LOOP;
    END $traps$";

/// What a trap that was called leaves in the server's log.
const HIJACKED: &str = "hijacked";

async fn run(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap();
}

async fn set_traps(database: &TestDatabase) {
    let attacker = format!("{}_attacker", database.name);
    database.postgres.create_role(&attacker).await.unwrap();
    let mut admin = database.connect_as_admin().await;
    run(&mut admin, "GRANT CREATE ON SCHEMA public TO PUBLIC").await;
    run(&mut database.connect_as(&attacker).await, TRAPS).await;
}

/// A writer with a role of its own, on the search path: starts, stores, skips, rejects, validates, empties.
async fn writer_is_safe(database: &TestDatabase, setting: &str) {
    let role = database.create_writer_role().await;
    let mut admin = database.connect_as_admin().await;
    run(&mut admin, &format!("ALTER DATABASE {} SET search_path = {setting}", database.name)).await;
    database.migrate(&["--grant-to", &role, "--table", "events.logins"]).await.unwrap();
    run(&mut admin, "INSERT INTO veilpost.ledger SELECT s, pg_catalog.gen_random_uuid() FROM pg_catalog.generate_series(0, 17) s")
        .await;
    let writer = database.start_writer_as(&role, &["--migrate", "false", "--table", "events.logins"]);
    writer.wait_until_ready().await;
    let mut stream = writer.open("events.logins", &["user_id", "mood", "at"]).await.unwrap();
    let at = "2026-11-29T10:15:00Z";
    let records = || (1..=2).map(|id| record(id, vec![text("a"), text("sad"), text(at)])).collect();
    assert_eq!(stream.store(records()).await.outcomes, [STORED; 2]);
    assert_eq!(stream.store(records()).await.outcomes, [DUPLICATE; 2]);
    let refused = stream.store(vec![record(3, vec![text("a"), text("merry"), text(at)])]).await;
    assert_eq!(only_rejection(&refused).0, Reason::InvalidValue);
    writer.stop().await;
    upserts_are_safe(database, &role).await;
}

/// The statements of `on_conflict`, with keys and times that are rounded.
async fn upserts_are_safe(database: &TestDatabase, role: &str) {
    let rights = ["--on-conflict-key", "id", "--on-conflict-update", "status,at"];
    let table = ["--grant-to", role, "--table", "events.orders"];
    database.migrate(&[&table[..], &rights].concat()).await.unwrap();
    let writer = database.start_writer_as(role, &["--migrate", "false", "--table", "events.orders"]);
    writer.wait_until_ready().await;
    for (newer_by, action) in [("at", ConflictAction::Update), ("", ConflictAction::Ignore)] {
        let on_conflict =
            OnConflict { key: names(&["id"]), action: action.into(), newer_by: newer_by.to_owned() };
        let target = Target {
            table: "events.orders".to_owned(),
            columns: names(&["id", "status", "at"]),
            on_conflict: Some(on_conflict),
        };
        let mut stream = writer.open_target(target).await.unwrap();
        let order = |id: &str, key| {
            record(format!("{newer_by}{id}"), vec![number(key), text("new"), text("2026-11-29")])
        };
        let outcomes =
            stream.store(vec![order("x", "1.01"), order("y", "1.04"), order("z", "2")]).await.outcomes;
        assert_eq!(outcomes, [STORED; 3]);
    }
    let rows = "SELECT pg_catalog.count(*)::pg_catalog.text FROM events.orders";
    assert_eq!(database.text(rows).await, "2");
    writer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_an_open_schema_is_called_by_migrations_and_writers() {
    for setting in [r#""$user", public"#, "public, pg_catalog"] {
        let database = TestDatabase::alone().await;
        database.sql(OPEN).await;
        set_traps(&database).await;
        writer_is_safe(&database, setting).await;
        // The owner's writer makes the default table and migrates at its start.
        let writer = database.ready_writer(&[]).await;
        writer.stop().await;
        assert!(!database.postgres.log().contains(HIJACKED), "{setting}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_traps_of_these_tests_catch_what_is_not_qualified() {
    let database = TestDatabase::alone().await;
    set_traps(&database).await;
    let mut connection = database.connect().await;
    for setting in [r#""$user", public"#, "public, pg_catalog"] {
        run(&mut connection, &format!("SET search_path = {setting}")).await;
        let unqualified = "SELECT unnest(ARRAY['a'::pg_catalog.text])";
        assert!(sqlx::raw_sql(unqualified).execute(&mut connection).await.is_err(), "{setting}");
    }
    for unqualified in [
        "SELECT current_setting('search_path')",
        "SELECT 1::pg_catalog.int4 = 1::pg_catalog.int4",
        "SELECT FROM pg_class",
    ] {
        assert!(sqlx::raw_sql(unqualified).execute(&mut connection).await.is_err(), "{unqualified}");
    }
    assert!(database.postgres.log().contains(HIJACKED));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_the_ledgers_name_that_belongs_to_somebody_else_is_refused() {
    let database = TestDatabase::with("").await;
    let attacker = format!("{}_attacker", database.name);
    database.postgres.create_role(&attacker).await.unwrap();
    let mut admin = database.connect_as_admin().await;
    run(&mut admin, &format!("CREATE SCHEMA veilpost AUTHORIZATION {attacker}")).await;
    let refused = format!("{:#}", database.migrate(&[]).await.unwrap_err());
    assert!(refused.contains("schema veilpost") && refused.contains(&attacker), "{refused}");
    run(&mut admin, &format!("ALTER SCHEMA veilpost OWNER TO {}", database.name)).await;
    run(&mut admin, &format!("GRANT CREATE ON SCHEMA veilpost TO {attacker}")).await;
    let refused = format!("{:#}", database.migrate(&[]).await.unwrap_err());
    assert!(refused.contains(&format!("REVOKE CREATE ON SCHEMA veilpost FROM {attacker}")), "{refused}");
    run(&mut admin, &format!("REVOKE CREATE ON SCHEMA veilpost FROM {attacker}")).await;
    database.migrate(&[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_defaults_and_regclass_values_still_find_what_the_roles_search_path_shows() {
    let setup = "CREATE SCHEMA app; CREATE TABLE app.audit (user_id text);
                 CREATE FUNCTION app.label() RETURNS text LANGUAGE sql AS $$ SELECT 'labelled' $$;
                 CREATE TABLE app.user_logins (user_id text, at_table regclass, label text);
                 CREATE FUNCTION app.note() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN INSERT INTO audit VALUES (NEW.user_id); NEW.label := label();
                        CREATE TABLE IF NOT EXISTS made_by_trigger (); RETURN NEW; END $$;
                 CREATE TRIGGER note BEFORE INSERT ON app.user_logins FOR EACH ROW EXECUTE FUNCTION app.note()";
    let database = TestDatabase::with(setup).await;
    database.sql(&format!("ALTER ROLE {} SET search_path = App, public", database.name)).await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id", "at_table"]).await.unwrap();
    assert_eq!(stream.store(vec![record(1, vec![text("u"), text("audit")])]).await.outcomes, [STORED]);
    let stored = "SELECT user_id || ' ' || at_table::oid::regclass || ' ' || label FROM app.user_logins";
    assert_eq!(database.text(stored).await, "u audit labelled");
    assert_eq!(database.text("SELECT user_id FROM app.audit").await, "u");
    assert_eq!(database.text("SELECT to_regclass('app.made_by_trigger') IS NULL || ''").await, "false");
    assert_eq!(database.text("SELECT to_regclass('public.user_logins') IS NULL || ''").await, "true");
}
