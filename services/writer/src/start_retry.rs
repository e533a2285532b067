//! Retries of what a start needs, until it succeeds or waiting no longer helps.

use std::time::Duration;

use veilpost_runtime::Backoff;

use crate::catalogue::ReadError;
use crate::database::{DbError, is_transient};

/// Why something that is needed at the start has not worked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Database(#[from] DbError),
    /// Waiting may help: somebody else has to do something first.
    #[error("{0}")]
    NotYet(String),
    #[error("{0}")]
    Final(String),
}

impl StartError {
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
pub(crate) struct Patience {
    complaint: &'static str,
    backoff: Backoff,
    logged: String,
}

impl Patience {
    pub(crate) fn new(complaint: &'static str) -> Self {
        let backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        Self { complaint, backoff, logged: String::new() }
    }

    /// Logs each kind of failure once and waits; Err when waiting does not help.
    pub(crate) async fn wait_after(&mut self, error: StartError) -> anyhow::Result<()> {
        if !error.is_transient() {
            return Err(error.into());
        }
        let error = error.to_string();
        if self.logged != error {
            tracing::warn!(error, "{}", self.complaint);
            self.logged = error;
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
