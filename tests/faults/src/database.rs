//! The harness's own table and policy, and what can be done to Postgres while writers use it.

use std::path::PathBuf;

use anyhow::Context;
use rustix::process::Pid;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row as _};
use tokio::process::Command;
use veilpost_local::postgres::ThrowAwayPostgres;
use veilpost_testkit::binary;

use crate::oracle::{DOMAIN, FoundRow, KEY, hex};
use crate::small_disk::SmallDisk;

/// The writers' own role, with no more than it needs.
const WRITER: (&str, &str) = ("veilpost_writer", "writes");

pub(crate) const TABLE: &str = "events";

/// Both kinds of digest, every kind of conversion, one column that only Postgres can judge, and a constraint.
pub(crate) fn policy() -> String {
    let plain = |name: &str, source: &str, transform: &str| {
        format!("[[column]]\nname = \"{name}\"\nsource = \"{source}\"\ntransform = \"{transform}\"\n")
    };
    let own =
        |name: &str, transform: &str| format!("[[column]]\nname = \"{name}\"\ntransform = \"{transform}\"\n");
    let keyed = format!("domain = \"{DOMAIN}\"\nkey = \"{}\"\n", KEY.0);
    [
        format!("table = \"{TABLE}\"\nunknown_record = \"reject\"\n"),
        own("message_id", "message-id"),
        own("sent_at", "sent-timestamp"),
        plain("user_id", "/user_id", "copy"),
        plain("device_type", "/device_type", "copy"),
        plain("masked_ip", "/ip", "sha512"),
        plain("masked_device_id", "/device_id", "hmac-sha512") + &keyed,
        plain("locale", "/locale", "copy"),
        plain("app_version", "/app_version", "major-version"),
        plain("network", "/network", "copy"),
        plain("amount", "/amount", "copy"),
        plain("born", "/born", "copy"),
        plain("extra", "/extra", "copy"),
        own("create_date", "ingest-date"),
    ]
    .concat()
}

/// The policy's keys, as a keys file has them.
pub(crate) fn keys() -> String {
    format!("{}={}\n", KEY.0, hex(&KEY.1))
}

const SCHEMA: &str = "
    CREATE TABLE events (
        message_id text, sent_at timestamptz, user_id varchar(128) CONSTRAINT no_poison CHECK (user_id <> 'poison'),
        device_type varchar(32), masked_ip varchar(256), masked_device_id varchar(256), locale varchar(32),
        app_version integer, network inet, amount numeric(10, 2), born date, extra jsonb, create_date date);
    CREATE SCHEMA fault;
    CREATE TABLE fault.slowness (seconds double precision NOT NULL);
    INSERT INTO fault.slowness VALUES (0);
    CREATE FUNCTION fault.be_slow() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        PERFORM pg_sleep(seconds) FROM fault.slowness WHERE seconds > 0;
        RETURN NULL;
    END $$;
    CREATE TRIGGER slowness BEFORE INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION fault.be_slow();
    CREATE SEQUENCE fault.numbers MAXVALUE 1000000000;
    ALTER TABLE events ADD COLUMN number bigint DEFAULT nextval('fault.numbers');
    CREATE TABLE fault.refusal (user_id text, sqlstate text NOT NULL);
    CREATE FUNCTION fault.refuse() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    DECLARE code text;
    BEGIN
        SELECT sqlstate INTO code FROM fault.refusal WHERE user_id IS NULL OR user_id = NEW.user_id;
        IF FOUND THEN RAISE 'refused' USING ERRCODE = code; END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER refusal AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION fault.refuse();
    CREATE ROLE veilpost_writer LOGIN PASSWORD 'writes';
    GRANT USAGE ON SCHEMA veilpost TO veilpost_writer;
    GRANT INSERT ON veilpost.ledger, events TO veilpost_writer;
    GRANT USAGE ON SEQUENCE fault.numbers TO veilpost_writer;
    CREATE TABLE fault.clock (days int NOT NULL);
    INSERT INTO fault.clock VALUES (0);
    ALTER FUNCTION pg_catalog.clock_timestamp() RENAME TO right_clock;
    CREATE FUNCTION pg_catalog.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        RETURN pg_catalog.right_clock() + (SELECT days * interval '1 day' FROM fault.clock);
    END $$;
    GRANT SELECT, TRUNCATE ON ALL TABLES IN SCHEMA veilpost TO veilpost_writer;";

/// Each line of the server's log begins with an SQLSTATE.
const LOG: [&str; 2] = ["ALTER SYSTEM SET log_line_prefix = '%e '", "SELECT pg_reload_conf()"];

/// The ledger's keys, computed by Postgres from what is in the table.
const EXPECTED_KEYS: &str = "
    SELECT (lpad(to_hex((extract(epoch FROM sent_at) * 1000)::bigint), 12, '0')
            || encode(substring(sha256(convert_to($1, 'UTF8') || '\\x00'::bytea || convert_to(message_id, 'UTF8')) FOR 10), 'hex')
           )::uuid AS key FROM events";

/// Where to reach the server without a proxy.
#[derive(Clone, Debug)]
pub(crate) struct FaultDatabase {
    url: String,
    log: PathBuf,
}

impl FaultDatabase {
    pub(crate) fn of(postgres: &ThrowAwayPostgres) -> Self {
        Self { url: postgres.url(), log: postgres.log_file() }
    }

    /// Migrations, table, role; the table is on `disk` where there is one.
    pub(crate) async fn prepare(&self, disk: Option<&SmallDisk>) -> anyhow::Result<()> {
        let mut migrate = Command::new(binary("veilpost-writer")?);
        let migrated =
            migrate.kill_on_drop(true).arg("migrate").env("DATABASE_URL", &self.url).output().await?;
        anyhow::ensure!(migrated.status.success(), "migrations failed: {}", migrated.status);
        let mut connection = self.connect().await?;
        sqlx::raw_sql(SCHEMA).execute(&mut connection).await.context("the harness's schema")?;
        if let Some(disk) = disk {
            let location = disk.tablespace();
            let space = format!("CREATE TABLESPACE small LOCATION '{}'", location.display());
            sqlx::raw_sql(AssertSqlSafe(space)).execute(&mut connection).await?;
            sqlx::raw_sql("ALTER TABLE events SET TABLESPACE small").execute(&mut connection).await?;
        }
        for statement in LOG {
            sqlx::raw_sql(statement).execute(&mut connection).await?;
        }
        Ok(())
    }

    /// Where writers connect to when the server is reached through `port`.
    pub(crate) fn writers_url(port: u16) -> String {
        let (role, password) = WRITER;
        format!("postgres://{role}:{password}@127.0.0.1:{port}/postgres?sslmode=disable")
    }

    /// A connection of the superuser, past every proxy.
    pub(crate) async fn connect(&self) -> anyhow::Result<PgConnection> {
        PgConnection::connect(&self.url).await.context("the harness cannot reach Postgres")
    }

    pub(crate) async fn run(&self, statements: &[&'static str]) -> anyhow::Result<()> {
        let mut connection = self.connect().await?;
        for statement in statements {
            sqlx::raw_sql(*statement)
                .execute(&mut connection)
                .await
                .with_context(|| (*statement).to_owned())?;
        }
        Ok(connection.close().await?)
    }

    async fn number(&self, query: &'static str) -> anyhow::Result<u64> {
        let mut connection = self.connect().await?;
        let number: i64 = sqlx::query_scalar(query).fetch_one(&mut connection).await?;
        Ok(u64::try_from(number)?)
    }

    /// Connections of writers.
    pub(crate) async fn writers_connections(&self) -> anyhow::Result<u64> {
        self.number("SELECT count(*) FROM pg_stat_activity WHERE usename = 'veilpost_writer'").await
    }

    /// Their process ids on the server's side.
    pub(crate) async fn writers_backends(&self) -> anyhow::Result<Vec<Pid>> {
        let mut connection = self.connect().await?;
        let query = "SELECT pid FROM pg_stat_activity WHERE usename = 'veilpost_writer'";
        let pids: Vec<i32> = sqlx::query_scalar(query).fetch_all(&mut connection).await?;
        Ok(pids.into_iter().filter_map(Pid::from_raw).collect())
    }

    /// Cuts them; returns how many there were.
    pub(crate) async fn terminate_writers(&self) -> anyhow::Result<u64> {
        self.number(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'veilpost_writer'",
        )
        .await
    }

    /// Commits of writers that wait for a standby.
    pub(crate) async fn waiting_commits(&self) -> anyhow::Result<u64> {
        self.number(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'veilpost_writer' AND wait_event = 'SyncRep'",
        )
        .await
    }

    /// Cancels the waits; returns how many there were.
    pub(crate) async fn cancel_waiting_commits(&self) -> anyhow::Result<u64> {
        self.number(
            "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
             WHERE usename = 'veilpost_writer' AND wait_event = 'SyncRep'",
        )
        .await
    }

    /// Standbys that commits wait for.
    pub(crate) async fn synchronous_standbys(&self) -> anyhow::Result<u64> {
        self.number("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'").await
    }

    pub(crate) async fn row_count(&self) -> anyhow::Result<u64> {
        self.number("SELECT count(*) FROM events").await
    }

    /// How many lines of the server's log begin with `sqlstate`.
    pub(crate) fn logged(&self, sqlstate: &str) -> anyhow::Result<u64> {
        let text = std::fs::read(&self.log)?;
        let text = String::from_utf8_lossy(&text);
        let found = text.lines().filter(|line| line.split(' ').next() == Some(sqlstate)).count();
        Ok(u64::try_from(found)?)
    }

    pub(crate) async fn rows(&self) -> anyhow::Result<Vec<FoundRow>> {
        let mut connection = self.connect().await?;
        let rows = sqlx::query("SELECT message_id, masked_ip, masked_device_id FROM events");
        let rows = rows.fetch_all(&mut connection).await?;
        let row = |row: sqlx::postgres::PgRow| {
            Ok(FoundRow {
                message_id: row.try_get(0)?,
                masked_ip: row.try_get(1)?,
                masked_device_id: row.try_get(2)?,
            })
        };
        rows.into_iter().map(row).collect()
    }

    /// Rows whose key the ledger lacks, and keys that belong to no row, for one pipeline.
    pub(crate) async fn ledger_differences(&self, pipeline: &str) -> anyhow::Result<(u64, u64)> {
        let query = format!(
            "WITH expected AS ({EXPECTED_KEYS}) SELECT count(*) FILTER (WHERE l.key IS NULL),
             count(*) FILTER (WHERE e.key IS NULL) FROM expected e FULL JOIN (SELECT key FROM veilpost.ledger WHERE rejected IS NULL) l ON l.key = e.key"
        );
        let mut connection = self.connect().await?;
        let found: (i64, i64) =
            sqlx::query_as(AssertSqlSafe(query)).bind(pipeline).fetch_one(&mut connection).await?;
        Ok((u64::try_from(found.0)?, u64::try_from(found.1)?))
    }
}
