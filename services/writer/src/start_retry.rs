//! Retries of what a start needs, until it succeeds or waiting no longer helps.

use std::time::Duration;

use veilpost_runtime::Backoff;
use veilpost_runtime::telemetry::OutageLog;

use crate::catalogue::ReadError;
use crate::database::{Database, DbError, is_transient};

/// Why an attempt at something that is needed at the start failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Database(#[from] DbError),
    /// Somebody else has to do something first, so waiting may help.
    #[error("{0}")]
    NotYet(String),
    #[error("{0}")]
    Final(String),
}

impl StartError {
    /// Whether Postgres refuses role, password or database, or is not what the URL asks for.
    fn is_refusal(&self) -> bool {
        match self {
            Self::Database(DbError::Server(error)) => ["28", "3D"].contains(&error.class()),
            Self::Database(DbError::Refused(_)) => true,
            _ => false,
        }
    }

    fn is_transient(&self) -> bool {
        match self {
            Self::Database(error) => is_transient(error),
            Self::NotYet(_) => true,
            Self::Final(_) => false,
        }
    }
}

const POOLED: &str = "a pooler in transaction mode (PgBouncer: pool_mode = transaction or statement) is between the writer and \
                      Postgres, and would lose the settings of the writer's sessions: connect to Postgres itself, or \
                      to a pool in session mode (pool_mode = session)";

/// Refuses a database that is behind a pooler which mixes sessions.
///
/// # Errors
///
/// When there is such a pooler, and when the database cannot be asked.
pub(crate) async fn refuse_mixed_sessions(database: &Database) -> Result<(), StartError> {
    if database.is_pooled_by_transaction().await? {
        Err(StartError::Final(POOLED.to_owned()))
    } else {
        Ok(())
    }
}

/// Waits between the attempts at something that is needed at the start.
#[derive(Debug)]
pub(crate) struct StartRetry {
    /// The log line for a failure.
    message: &'static str,
    backoff: Backoff,
    outage: OutageLog,
    /// Whether the process runs once and ends: then it ends on everything that does not mend itself.
    runs_once: bool,
}

impl StartRetry {
    pub(crate) fn new(message: &'static str) -> Self {
        let backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        Self { message, backoff, outage: OutageLog::new(), runs_once: false }
    }

    /// For a process that runs once: waits for a database that starts up or is full, and for what somebody
    /// else creates, but not for another password.
    pub(crate) fn once(message: &'static str) -> Self {
        Self { runs_once: true, ..Self::new(message) }
    }

    /// Logs the failure unless it is known, and waits; Err when waiting cannot help.
    pub(crate) async fn wait_after(&mut self, error: StartError) -> anyhow::Result<()> {
        if !error.is_transient() || (self.runs_once && error.is_refusal()) {
            return Err(error.into());
        }
        if self.outage.note_failure(&error) {
            tracing::warn!(error = error.to_string(), "{}", self.message);
        }
        tokio::time::sleep(self.backoff.next_delay()).await;
        Ok(())
    }
}

impl From<ReadError> for StartError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unfit(why) => Self::NotYet(why),
            ReadError::Database(error) => Self::Database(error),
        }
    }
}
