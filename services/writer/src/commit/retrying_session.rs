//! A committer's connection: opened when it is needed, dropped when it is broken, waited for while Postgres
//! fails.

use std::sync::Arc;
use std::time::Duration;

use tonic::Status;
use veilpost_runtime::Backoff;
use veilpost_runtime::telemetry::OutageLog;

use super::insert::insert_nothing;
use crate::catalogue::{Catalogue, ReadError};
use crate::database::{Blame, Database, DbError, Session};
use crate::metrics;
use crate::target::ResolvedTarget;

#[derive(Debug)]
pub(super) struct RetryingSession {
    database: Arc<Database>,
    catalogue: Arc<Catalogue>,
    session: Option<Session>,
    backoff: Backoff,
    outage: OutageLog,
}

/// The catalogue's answer about a target: Err ends its streams, because the table has changed or is gone.
pub(super) type TargetCheck = Result<(), Status>;

impl RetryingSession {
    pub(super) fn new(database: Arc<Database>, catalogue: Arc<Catalogue>) -> Self {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        Self { database, catalogue, session: None, backoff, outage: OutageLog::new() }
    }

    /// The connection, opened where there is none.
    pub(super) async fn session(&mut self) -> Result<&mut Session, DbError> {
        let session = match self.session.take() {
            Some(session) => session,
            None => self.database.connect().await?,
        };
        Ok(self.session.insert(session))
    }

    /// The database's time in milliseconds since the Unix epoch.
    pub(super) fn database_now_ms(&self) -> i64 {
        self.database.clock.now_ms()
    }

    pub(super) fn note_commit(&mut self) {
        self.backoff.reset();
        if self.outage.note_success() {
            tracing::info!("storing again");
        }
    }

    pub(super) fn note_database_works(&mut self) {
        self.backoff.reset();
    }

    /// Logs a failure unless it is known, drops a broken connection, and waits. Err when the catalogue was to
    /// blame and the target is gone or has changed.
    pub(super) async fn wait_after(&mut self, error: &DbError, target: &ResolvedTarget) -> TargetCheck {
        if self.outage.note_failure(error) {
            tracing::warn!(error = error.to_string(), "cannot store; trying again");
        }
        metrics::retry(error.label());
        if error.ends_connection() {
            self.session = None;
        }
        metrics::database_up(self.session.is_some());
        if target.blame(error) == Blame::Catalogue
            && let Ok(check) = self.try_check_target(target).await
        {
            check?;
        }
        tokio::time::sleep(self.backoff.next_delay()).await;
        Ok(())
    }

    /// Reads the definition again, however long that takes. Nothing is rejected by an outdated definition: a
    /// column may have been widened since the stream began.
    pub(super) async fn check_target(&mut self, target: &ResolvedTarget) -> TargetCheck {
        loop {
            match self.try_check_target(target).await {
                Ok(check) => return check,
                Err(error) => self.wait_after(&error, target).await?,
            }
        }
    }

    async fn try_check_target(&mut self, target: &ResolvedTarget) -> Result<TargetCheck, DbError> {
        let catalogue = Arc::clone(&self.catalogue);
        match catalogue.refresh(self.session().await?).await {
            Ok(table) if Arc::ptr_eq(&table, &target.table) => Ok(Ok(())),
            Ok(table) => Ok(Err(target.outdated_by(&table))),
            Err(ReadError::Unfit(why)) => Ok(Err(Status::failed_precondition(why))),
            Err(ReadError::Database(error)) => Err(error),
        }
    }

    /// Whether the table takes rows: the database is writable, nobody locks the table, no privilege is
    /// missing and no trigger refuses everything. Err of the outer result is the failure of that attempt.
    pub(super) async fn probe(&mut self, target: &ResolvedTarget) -> Result<TargetCheck, DbError> {
        if let Err(status) = self.try_check_target(target).await? {
            return Ok(Err(status));
        }
        insert_nothing(self.session().await?, target).await.map(Ok)
    }

    /// Ends a transaction that failed, so that a connection that is used again has none open.
    pub(super) async fn roll_back(&mut self, error: &DbError) {
        if let Some(mut session) = self.session.take()
            && !error.ends_connection()
            && session.roll_back().await.is_ok()
        {
            self.session = Some(session);
        }
    }

    /// Drops the connection, whatever it is doing.
    pub(super) fn discard(&mut self) {
        self.session = None;
    }

    pub(super) async fn close(&mut self) {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }
}
