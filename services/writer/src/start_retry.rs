//! Retries of what a start needs, until it succeeds or waiting no longer helps.

use std::time::Duration;

use veilpost_runtime::Backoff;
use veilpost_runtime::telemetry::OutageLog;

use crate::catalogue::ReadError;
use crate::database::{DbError, is_transient};

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
    /// Whether Postgres refuses role, password or database.
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Database(DbError::Server(error)) if ["28", "3D"].contains(&error.class()))
    }

    fn is_transient(&self) -> bool {
        match self {
            Self::Database(error) => is_transient(error),
            Self::NotYet(_) => true,
            Self::Final(_) => false,
        }
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
