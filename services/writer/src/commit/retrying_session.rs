//! A committer's connection: opened when it is needed, dropped when it is broken, waited for while Postgres
//! fails.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tonic::Status;
use veilpost_proto::v1::Reason;
use veilpost_runtime::Backoff;
use veilpost_runtime::telemetry::{OutageLog, watch_warnings};

use crate::catalogue::{Catalogue, ReadError, explain_denial};
use crate::database::{Blame, Database, DbError, Session, barrier, blame};
use crate::ledger::{Key, SentKey, claim, marks};
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

    /// Reads the database's clock. What fails is tried again by whoever needs the connection next.
    pub(super) async fn read_clock(&mut self) -> Result<i64, DbError> {
        let database = Arc::clone(&self.database);
        let read = match self.session().await {
            Ok(session) => session.read_clock(&database.clock).await,
            Err(error) => Err(error),
        };
        read.inspect_err(|error| self.drop_if_ended(error))
    }

    pub(super) fn note_commit(&mut self) {
        self.backoff.reset();
        if self.outage.note_success() {
            tracing::info!("storing again");
        }
    }

    /// The connection, where there is one.
    pub(super) fn open_session(&mut self) -> Option<&mut Session> {
        self.session.as_mut()
    }

    /// Drops a connection that an error has broken.
    pub(super) fn drop_if_ended(&mut self, error: &DbError) {
        if error.ends_connection() {
            self.session = None;
        }
    }

    /// Waits, after a commit that came with a warning, until a synchronous standby has everything that is
    /// committed so far: whoever cancelled the commit's own wait has not cancelled this one. Err when the
    /// connection is lost: then the outcome of the commit is unknown.
    pub(super) async fn confirm(&mut self) -> Result<(), DbError> {
        loop {
            let session =
                self.session.as_mut().ok_or_else(|| DbError::Connection("it was lost".to_owned()))?;
            let problem = match watch_warnings(barrier(session)).await {
                (Ok(()), false) => return Ok(()),
                (Ok(()), true) => "the wait for a synchronous standby was cancelled".to_owned(),
                (Err(error), _) => {
                    if error.ends_connection() {
                        self.session = None;
                        return Err(error);
                    }
                    error.to_string()
                }
            };
            if self.outage.note_failure(&problem) {
                tracing::warn!(error = problem, "a commit is not known to be on the standby; waiting again");
            }
            metrics::retry("unconfirmed");
            tokio::time::sleep(self.backoff.next_delay()).await;
        }
    }

    /// Claims keys, however long that takes, and returns those that were new.
    pub(super) async fn claim(
        &mut self,
        claims: &[(SentKey, Reason)],
        target: &ResolvedTarget,
    ) -> Result<BTreeSet<Key>, Status> {
        loop {
            match self.try_claim(claims).await {
                Ok(new) => return Ok(new),
                Err(error) => self.wait_after(&error, target).await?,
            }
        }
    }

    async fn try_claim(&mut self, claims: &[(SentKey, Reason)]) -> Result<BTreeSet<Key>, DbError> {
        let (new, warned) = watch_warnings(claim(self.session().await?, claims)).await;
        let new = new?;
        if warned {
            self.confirm().await?;
        }
        Ok(new)
    }

    /// The reasons of those keys that are marked, however long the look-up takes. Nothing is asked without
    /// keys.
    pub(super) async fn marks(
        &mut self,
        keys: &[SentKey],
        target: &ResolvedTarget,
    ) -> Result<HashMap<Key, Reason>, Status> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        loop {
            let looked_up = match self.session().await {
                Ok(session) => marks(session, keys).await,
                Err(error) => Err(error),
            };
            match looked_up {
                Ok(marked) => return Ok(marked),
                Err(error) => self.wait_after(&error, target).await?,
            }
        }
    }

    /// Adds to a missing privilege which one it is, as far as that can be found out.
    pub(super) async fn explained(&mut self, error: DbError, target: &ResolvedTarget) -> DbError {
        let (DbError::Server(server), Some(session)) = (&error, self.session.as_mut()) else { return error };
        if !server.is_unexplained_denial() {
            return error;
        }
        match explain_denial(session, &target.table, target.privileges(), server).await {
            Ok(found) => server.explained(found).into(),
            Err(failed) => {
                tracing::debug!(error = failed.to_string(), "cannot find out which privilege is missing");
                self.drop_if_ended(&failed);
                error
            }
        }
    }

    /// Logs a failure unless it is known, drops a broken connection, and waits. Err when the catalogue was to
    /// blame and the target is gone or has changed.
    pub(super) async fn wait_after(&mut self, error: &DbError, target: &ResolvedTarget) -> TargetCheck {
        let error = &self.explained(error.clone(), target).await;
        if self.outage.note_failure(error) {
            tracing::warn!(error = error.to_string(), "cannot store; trying again");
        }
        metrics::retry(error.label());
        if error.ends_connection() {
            self.session = None;
        }
        metrics::database_up(self.session.is_some());
        if (blame(error) == Blame::Catalogue || target.lacks_value_by(error))
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

    /// Whether the database works: it answers, it commits, and a synchronous standby follows. It says nothing
    /// of the table, whose triggers only a row finds out about. Err of the outer result is the failure of
    /// that attempt.
    pub(super) async fn probe(&mut self, target: &ResolvedTarget) -> Result<TargetCheck, DbError> {
        if let Err(status) = self.try_check_target(target).await? {
            return Ok(Err(status));
        }
        barrier(self.session().await?).await?;
        self.backoff.reset();
        Ok(Ok(()))
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
