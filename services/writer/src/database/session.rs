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

/// How much longer than the server's statement timeout the writer waits before it gives the connection up.
const ANSWER_MARGIN: Duration = Duration::from_secs(5);

/// The settings of every connection, whatever role, database and server have set. `remote_apply` is stronger
/// than `on`, so it stays. By Postgres's default, a role named `veilpost` would find schema `veilpost` first
/// in its search path and create its tables there. Postgres before 14 lacks one of the settings and is
/// refused.
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
           set_config('client_min_messages', 'warning', false),
           set_config('log_parameter_max_length_on_error', '0', false),
           set_config('statement_timeout', $1, false),
           set_config('lock_timeout', $2, false),
           set_config('idle_in_transaction_session_timeout', '30s', false),
           set_config('idle_session_timeout', '0', false),
           set_config('client_connection_check_interval', '5s', false),
           set_config('tcp_keepalives_idle', '60', false),
           set_config('tcp_user_timeout', '30s', false)"#;

const LOG_SHOWS_ROWS: &str = "this role may not set log_error_verbosity, so Postgres logs the whole row that a \
                              constraint refuses; to prevent that, run as a superuser (Postgres 15 or newer): \
                              GRANT SET ON PARAMETER log_error_verbosity TO the role";

/// Without this setting, Postgres logs the whole row with a constraint's error. Not every role may set it.
const HIDE_ROWS_IN_LOG: &str = "
    DO $$ BEGIN
        PERFORM set_config('log_error_verbosity', 'terse', false);
    EXCEPTION WHEN insufficient_privilege THEN NULL;
    END $$";

const LOG_IS_QUIET: &str = "SELECT current_setting('log_error_verbosity') = 'terse'";

/// How to reach the database.
pub(crate) struct Database {
    options: PgConnectOptions,
    statement_timeout: Duration,
    /// Warns once that Postgres's log shows rows.
    warn_of_log: Once,
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
                BadSettings("DATABASE_URL is not a URL such as postgres://user:password@host/name".to_owned())
            })?
            .application_name("veilpost-writer")
            .disable_statement_logging();
        Ok(Self { options, statement_timeout, warn_of_log: Once::new(), clock: Clock::new() })
    }

    /// A connection for statements on records.
    pub(crate) async fn connect(&self) -> Result<Session, DbError> {
        self.connect_with(self.statement_timeout).await
    }

    /// A connection for migrations, which may wait without limit for another writer's migration.
    pub(crate) async fn connect_patiently(&self) -> Result<Session, DbError> {
        self.connect_with(Duration::ZERO).await
    }

    async fn connect_with(&self, statement_timeout: Duration) -> Result<Session, DbError> {
        let connection = within(CONNECT_TIMEOUT, self.options.connect()).await?;
        let deadline = CONNECT_TIMEOUT;
        let mut session = Session { connection, deadline };
        if !session.prepare(statement_timeout).await? {
            self.warn_of_log.call_once(|| tracing::warn!("{LOG_SHOWS_ROWS}"));
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

    /// Ends a transaction that was not committed.
    pub(crate) async fn roll_back(&mut self) -> Result<(), DbError> {
        self.control("ROLLBACK").await
    }

    pub(super) async fn control(&mut self, sql: &'static str) -> Result<(), DbError> {
        within(self.deadline, sqlx::raw_sql(sql).execute(&mut self.connection)).await.map(|_| ())
    }

    /// Ends the connection in order, so that Postgres does not log a lost client. Takes at most half a
    /// second.
    pub(crate) async fn close(self) {
        let closed = within(CLOSE_TIMEOUT, self.connection.close()).await;
        if let Err(error) = closed {
            tracing::debug!(error = error.to_string(), "a connection was not closed cleanly");
        }
    }

    /// Applies the settings. The lock timeout is half the statement timeout, so that a statement that waits
    /// for a lock is not mistaken for a slow one. Returns whether Postgres's log shows no rows.
    async fn prepare(&mut self, statement_timeout: Duration) -> Result<bool, DbError> {
        let settings = sqlx::query(SETTINGS)
            .persistent(false)
            .bind(milliseconds(statement_timeout))
            .bind(milliseconds(statement_timeout / 2));
        within(self.deadline, settings.execute(&mut self.connection)).await?;
        within(self.deadline, sqlx::raw_sql(HIDE_ROWS_IN_LOG).execute(&mut self.connection)).await?;
        let quiet = sqlx::query_scalar(LOG_IS_QUIET).persistent(false);
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

/// Runs a statement with a time limit on this side; after [`DbError::TimedOut`] the connection's state is
/// unknown.
pub(crate) async fn within<T>(
    limit: Duration,
    statement: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, DbError> {
    match tokio::time::timeout(limit, statement).await {
        Ok(result) => result.map_err(DbError::from),
        Err(_) => Err(DbError::TimedOut),
    }
}
