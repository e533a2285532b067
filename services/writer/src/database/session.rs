//! Connections whose settings are the writer's own, and whose statements end in bounded time.

use std::fmt;
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use secrecy::SecretString;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::QueryAs;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, FromRow, PgConnection, Postgres, Row};

use super::address::Address;
use super::connecting::Peer;
use super::search_path::{self, OWN};
use super::{Clock, DbError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// So often each connection is asked again whether it still has its process.
const POOL_LOOKS: usize = 3;

/// How much longer than the server's statement timeout the writer waits before it gives the connection up.
const ANSWER_MARGIN: Duration = Duration::from_secs(5);

/// The settings of every connection, whatever role, database and server have set. `remote_apply` is stronger
/// than `on`, so it stays. The settings by which types read their input are fixed, so that a value means the
/// same in every database. Postgres before 14 lacks one of the settings and is refused.
const SETTINGS: &str = "
    SELECT current_user::text,
           set_config('synchronous_commit',
                      CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false),
           set_config('default_transaction_isolation', 'read committed', false),
           set_config('default_transaction_deferrable', 'off', false),
           set_config('DateStyle', 'ISO, MDY', false),
           set_config('TimeZone', 'UTC', false),
           set_config('IntervalStyle', 'postgres', false),
           set_config('xmloption', 'content', false),
           set_config('standard_conforming_strings', 'on', false),
           set_config('client_min_messages', 'warning', false),
           set_config('log_parameter_max_length_on_error', '0', false),
           set_config('statement_timeout', $1, false),
           set_config('lock_timeout', $2, false),
           set_config('idle_in_transaction_session_timeout', '30s', false),
           set_config('idle_session_timeout', '0', false),
           set_config('client_connection_check_interval', '5s', false),
           set_config('tcp_keepalives_idle', '60', false),
           set_config('tcp_user_timeout', '30s', false)";

/// The database's time in milliseconds since the Unix epoch, on any search path.
pub(crate) const NOW_MS: &str =
    "SELECT (extract(epoch FROM pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000)::bigint";

const LOG_SHOWS_ROWS: &str = "this role may not set log_error_verbosity, so Postgres logs the whole row that a \
                              constraint refuses; to prevent that, run as a superuser (Postgres 15 or newer): \
                              GRANT SET ON PARAMETER log_error_verbosity TO the role";

/// Without this setting, Postgres logs the whole row with a constraint's error. Not every role may set it.
const HIDE_ROWS_IN_LOG: &str = "
    DO $$ BEGIN
        PERFORM set_config('log_error_verbosity', 'terse', false);
    EXCEPTION WHEN insufficient_privilege THEN NULL;
    END $$";

/// Only Postgres 17 and newer have this limit, which would end a search.
const NO_TRANSACTION_TIMEOUT: &str = "
    SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout'";

const LOG_IS_QUIET: &str = "SELECT current_setting('log_error_verbosity') = 'terse'";

/// A query that gives rows of one type.
pub(crate) type QueryOf<'query, T> = QueryAs<'query, Postgres, T, PgArguments>;

/// How to reach the database.
pub(crate) struct Database {
    address: Address,
    statement_timeout: Duration,
    /// Warns once that Postgres's log shows rows.
    warn_of_log: Once,
    /// Whether it is known that no pooler mixes sessions.
    is_unmixed: AtomicBool,
    pub(crate) clock: Clock,
}

impl Database {
    pub(crate) fn new(url: &SecretString, statement_timeout: Duration) -> anyhow::Result<Self> {
        Ok(Self::at(Address::given(url)?, statement_timeout))
    }

    /// The URL is in a file, which may be replaced.
    pub(crate) fn in_file(file: &Path, statement_timeout: Duration) -> anyhow::Result<Self> {
        Ok(Self::at(Address::in_file(file)?, statement_timeout))
    }

    fn at(address: Address, statement_timeout: Duration) -> Self {
        let (warn_of_log, is_unmixed) = (Once::new(), AtomicBool::new(false));
        Self { address, statement_timeout, warn_of_log, is_unmixed, clock: Clock::new() }
    }

    /// A connection for statements on records: it has the role's search path, so those statements name
    /// everything with its schema.
    pub(crate) async fn connect(&self) -> Result<Session, DbError> {
        let mut session = self.connect_apart().await?;
        session.use_path_of_role().await?;
        Ok(session)
    }

    /// A connection for the writer's own statements, whose search path holds nothing of others.
    pub(crate) async fn connect_apart(&self) -> Result<Session, DbError> {
        self.connect_with(self.statement_timeout).await
    }

    /// A connection for migrations, which may wait without limit for another writer's migration. Its search
    /// path holds nothing of others.
    pub(crate) async fn connect_patiently(&self) -> Result<Session, DbError> {
        self.connect_with(Duration::ZERO).await
    }

    /// Whether a pooler hands one connection of Postgres to several of its clients, transaction by
    /// transaction or statement by statement. The settings of a session would then be lost, or would be
    /// another client's. Ask before anything else: a prepared statement may fail already.
    ///
    /// Two connections that are open at once and have the same process are a proof of it, and so is one
    /// connection whose process changes.
    pub(crate) async fn is_pooled_by_transaction(&self) -> Result<bool, DbError> {
        if self.is_unmixed.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let (mut one, mut other) = (self.connect_plainly().await?, self.connect_plainly().await?);
        let first = (process(&mut one).await?, process(&mut other).await?);
        let mut is_pooled = first.0 == first.1;
        for _ in 0..POOL_LOOKS {
            is_pooled |= (process(&mut one).await?, process(&mut other).await?) != first;
        }
        for connection in [one, other] {
            close(connection).await;
        }
        self.is_unmixed.store(!is_pooled, Ordering::Relaxed);
        Ok(is_pooled)
    }

    /// A connection without the settings.
    async fn connect_plainly(&self) -> Result<PgConnection, DbError> {
        let (options, tls) = self.address.options()?;
        let peer = Peer::new(&options, &tls);
        match tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await {
            Ok(connected) => connected.map_err(|error| peer.failure(error)),
            Err(_) => Err(peer.silent(CONNECT_TIMEOUT.as_secs())),
        }
    }

    async fn connect_with(&self, statement_timeout: Duration) -> Result<Session, DbError> {
        let connection = self.connect_plainly().await?;
        let deadline = CONNECT_TIMEOUT;
        let mut session = Session { connection, deadline, path_of_role: String::new() };
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

/// The address holds the password.
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
    /// The role's own search path, made safe.
    path_of_role: String,
}

impl Session {
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Bounds a statement on this connection.
    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Begins a transaction in which the search path holds nothing of others.
    pub(crate) async fn begin_apart(&mut self) -> Result<(), DbError> {
        self.control("BEGIN; SET LOCAL search_path TO pg_catalog, pg_temp").await
    }

    /// The same with one snapshot for all its statements.
    pub(crate) async fn begin_apart_at_one_moment(&mut self) -> Result<(), DbError> {
        self.control("BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL search_path TO pg_catalog, pg_temp")
            .await
    }

    /// Ends such a transaction: commits it when its statements succeeded.
    pub(crate) async fn end_apart<T>(&mut self, done: Result<T, DbError>) -> Result<T, DbError> {
        match &done {
            Ok(_) => self.control("COMMIT").await?,
            Err(error) if error.ends_connection() => {}
            Err(_) => self.roll_back().await?,
        }
        done
    }

    /// Asks, within a transaction of [`Self::begin_apart`], something that depends on the role's own search
    /// path. The query names everything with its schema.
    pub(crate) async fn ask_on_path_of_role<T>(&mut self, query: QueryOf<'_, T>) -> Result<T, DbError>
    where
        T: Send + Unpin + for<'row> FromRow<'row, PgRow>,
    {
        self.set_local_path(&self.path_of_role.clone()).await?;
        let answer = within(self.deadline, query.fetch_one(&mut self.connection)).await?;
        self.set_local_path(OWN).await?;
        Ok(answer)
    }

    async fn set_local_path(&mut self, path: &str) -> Result<(), DbError> {
        let set = sqlx::raw_sql(AssertSqlSafe(format!("SET LOCAL search_path TO {path}")));
        within(self.deadline, set.execute(&mut self.connection)).await.map(|_| ())
    }

    async fn use_path_of_role(&mut self) -> Result<(), DbError> {
        let set = sqlx::raw_sql(AssertSqlSafe(format!("SET search_path TO {}", self.path_of_role)));
        within(self.deadline, set.execute(&mut self.connection)).await.map(|_| ())
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
        close(self.connection).await;
    }

    /// Applies the settings. The lock timeout is half the statement timeout, so that a statement that waits
    /// for a lock is not mistaken for a slow one. Returns whether Postgres's log shows no rows.
    async fn prepare(&mut self, statement_timeout: Duration) -> Result<bool, DbError> {
        let path = sqlx::query_scalar("SHOW search_path").persistent(false);
        let path: String = within(self.deadline, path.fetch_one(&mut self.connection)).await?;
        self.control("SET search_path TO pg_catalog, pg_temp").await?;
        let settings = sqlx::query_scalar(SETTINGS)
            .persistent(false)
            .bind(milliseconds(statement_timeout))
            .bind(milliseconds(statement_timeout / 2));
        let role: String = within(self.deadline, settings.fetch_one(&mut self.connection)).await?;
        self.path_of_role = search_path::of_role(&path, &role);
        within(self.deadline, sqlx::raw_sql(NO_TRANSACTION_TIMEOUT).execute(&mut self.connection)).await?;
        within(self.deadline, sqlx::raw_sql(HIDE_ROWS_IN_LOG).execute(&mut self.connection)).await?;
        let quiet = sqlx::query_scalar(LOG_IS_QUIET).persistent(false);
        within(self.deadline, quiet.fetch_one(&mut self.connection)).await
    }

    /// Sets the clock by the database's.
    pub(crate) async fn read_clock(&mut self, clock: &Clock) -> Result<i64, DbError> {
        let asked = Instant::now();
        let query = sqlx::query_scalar(NOW_MS);
        let database_ms = within(self.deadline, query.fetch_one(&mut self.connection)).await?;
        clock.set(asked, database_ms);
        Ok(database_ms)
    }
}

/// The id of Postgres's process that serves a connection, asked without a prepared statement.
async fn process(connection: &mut PgConnection) -> Result<i32, DbError> {
    let process = sqlx::raw_sql("SELECT pg_catalog.pg_backend_pid()").fetch_one(connection);
    Ok(within(CONNECT_TIMEOUT, process).await?.try_get(0)?)
}

async fn close(connection: PgConnection) {
    if let Err(error) = within(CLOSE_TIMEOUT, connection.close()).await {
        tracing::debug!(error = error.to_string(), "a connection was not closed cleanly");
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
