//! Connections whose settings are the writer's own, and whose statements end in bounded time.

use std::fmt;
use std::str::FromStr;
use std::sync::Once;
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use veilpost_runtime::BadSettings;

use super::{Clock, DbError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// How much longer than the server's statement timeout the writer waits, before it takes the connection for dead.
const ANSWER_MARGIN: Duration = Duration::from_secs(5);

/// What every connection must have, whatever role, database or server say. `remote_apply` is stronger than `on`, so it
/// stays. A role with the name of Veilpost's own schema would have that in its search path by Postgres's default, and its tables
/// there. Postgres before 14 lacks one of the settings and is refused.
const SETTINGS: &str = r#"
    SELECT set_config('synchronous_commit',
                      CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false),
           set_config('default_transaction_isolation', 'read committed', false),
           set_config('default_transaction_deferrable', 'off', false),
           set_config('search_path',
                      CASE current_user WHEN 'veilpost' THEN replace(current_setting('search_path'), '"$user"', 'public')
                      ELSE current_setting('search_path') END, false),
           set_config('DateStyle', 'ISO, MDY', false),
           set_config('TimeZone', 'UTC', false),
           set_config('IntervalStyle', 'postgres', false),
           set_config('standard_conforming_strings', 'on', false),
           set_config('client_min_messages', 'error', false),
           set_config('statement_timeout', $1, false),
           set_config('lock_timeout', $2, false),
           set_config('idle_in_transaction_session_timeout', '30s', false),
           set_config('idle_session_timeout', '0', false),
           set_config('client_connection_check_interval', '5s', false),
           set_config('tcp_keepalives_idle', '60', false),
           set_config('tcp_user_timeout', '30s', false)"#;

const LOUD_LOG: &str = "this role may not set log_error_verbosity, so Postgres's own log shows the row that a constraint \
                        refuses; as a superuser run GRANT SET ON PARAMETER log_error_verbosity TO the role (Postgres 15 \
                        or newer)";

/// Without this, Postgres's log gets the whole row with a constraint's error. It takes a privilege that not every role has.
const QUIET_LOG: &str = "
    DO $$ BEGIN
        PERFORM set_config('log_error_verbosity', 'terse', false);
    EXCEPTION WHEN insufficient_privilege THEN NULL;
    END $$";

const IS_QUIET: &str = "SELECT current_setting('log_error_verbosity') = 'terse'";

/// How to reach the database.
pub(crate) struct Database {
    options: PgConnectOptions,
    statement_timeout: Duration,
    /// Whether it was said that Postgres's log is not quiet.
    told: Once,
    pub(crate) clock: Clock,
}

impl Database {
    pub(crate) fn new(url: &SecretString, statement_timeout: Duration) -> anyhow::Result<Self> {
        let url = url.expose_secret();
        let has_scheme = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
        let options = PgConnectOptions::from_str(url)
            .ok()
            .filter(|_| has_scheme)
            .ok_or_else(|| {
                BadSettings("DATABASE_URL is no URL like postgres://user:password@host/name".to_owned())
            })?
            .application_name("veilpost-writer")
            .disable_statement_logging();
        Ok(Self { options, statement_timeout, told: Once::new(), clock: Clock::new() })
    }

    /// A connection for statements on records.
    pub(crate) async fn connect(&self) -> Result<Session, DbError> {
        self.connect_with(self.statement_timeout).await
    }

    /// A connection for migrations: waiting for another writer's migration is not bounded.
    pub(crate) async fn connect_patiently(&self) -> Result<Session, DbError> {
        self.connect_with(Duration::ZERO).await
    }

    async fn connect_with(&self, statement_timeout: Duration) -> Result<Session, DbError> {
        let connection = within(CONNECT_TIMEOUT, self.options.connect()).await?;
        let deadline = CONNECT_TIMEOUT;
        let mut session = Session { connection, deadline };
        if !session.prepare(statement_timeout).await? {
            self.told.call_once(|| tracing::warn!("{LOUD_LOG}"));
        }
        session.read_clock(&self.clock).await?;
        session.deadline = match statement_timeout {
            Duration::ZERO => Duration::MAX,
            timeout => timeout + ANSWER_MARGIN,
        };
        Ok(session)
    }
}

/// The options hold the password.
impl fmt::Debug for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Database").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// One connection. After an error that [`DbError::ends_connection`], drop it.
#[derive(Debug)]
pub(crate) struct Session {
    connection: PgConnection,
    deadline: Duration,
}

impl Session {
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Bounds a statement on this connection.
    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Begins a transaction of several statements. Each is to meet deferred constraints as it would if it were one of its own.
    pub(crate) async fn begin(&mut self) -> Result<(), DbError> {
        self.control("BEGIN; SET CONSTRAINTS ALL IMMEDIATE; SAVEPOINT part").await
    }

    /// Keeps what was done since the last call of this kind, as far as the transaction is committed.
    pub(crate) async fn keep(&mut self) -> Result<(), DbError> {
        self.control("RELEASE SAVEPOINT part; SAVEPOINT part").await
    }

    /// Undoes what was done since then; needed after a statement that failed.
    pub(crate) async fn undo(&mut self) -> Result<(), DbError> {
        self.control("ROLLBACK TO SAVEPOINT part").await
    }

    /// Fails in a transaction that has failed, where COMMIT alone would roll back without an error.
    pub(crate) async fn commit(&mut self) -> Result<(), DbError> {
        self.control("RELEASE SAVEPOINT part; COMMIT").await
    }

    pub(crate) async fn rollback(&mut self) -> Result<(), DbError> {
        self.control("ROLLBACK").await
    }

    async fn control(&mut self, sql: &'static str) -> Result<(), DbError> {
        within(self.deadline, sqlx::raw_sql(sql).execute(&mut self.connection)).await.map(|_| ())
    }

    /// Says goodbye, so that Postgres does not log a lost client. Quick also when Postgres does not answer.
    pub(crate) async fn close(self) {
        let closed = within(CLOSE_TIMEOUT, self.connection.close()).await;
        if let Err(error) = closed {
            tracing::debug!(error = error.to_string(), "a connection was not closed cleanly");
        }
    }

    /// A lock gets half the time of a statement, so that a statement that waits for one is not taken for a slow one.
    /// Returns whether Postgres's log is quiet.
    async fn prepare(&mut self, statement_timeout: Duration) -> Result<bool, DbError> {
        let settings = sqlx::query(SETTINGS)
            .persistent(false)
            .bind(milliseconds(statement_timeout))
            .bind(milliseconds(statement_timeout / 2));
        within(self.deadline, settings.execute(&mut self.connection)).await?;
        within(self.deadline, sqlx::raw_sql(QUIET_LOG).execute(&mut self.connection)).await?;
        let quiet = sqlx::query_scalar(IS_QUIET).persistent(false);
        within(self.deadline, quiet.fetch_one(&mut self.connection)).await
    }

    /// Sets the clock by the database's.
    pub(crate) async fn read_clock(&mut self, clock: &Clock) -> Result<i64, DbError> {
        let asked = Instant::now();
        let query = sqlx::query_scalar("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint");
        let database_ms = within(self.deadline, query.fetch_one(&mut self.connection)).await?;
        clock.set(asked, database_ms);
        Ok(database_ms)
    }
}

fn milliseconds(duration: Duration) -> String {
    duration.as_millis().to_string()
}

/// Runs a statement with a time limit of our own; after [`DbError::TimedOut`] the connection's state is unknown.
pub(crate) async fn within<T>(
    limit: Duration,
    statement: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, DbError> {
    match tokio::time::timeout(limit, statement).await {
        Ok(result) => result.map_err(DbError::from),
        Err(_) => Err(DbError::TimedOut),
    }
}
