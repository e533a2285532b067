//! A committer's dealings with a database that fails: complain once, reconnect, wait, try again.

use tonic::Status;

use super::Committer;
use crate::catalogue::Target;
use crate::database::{DbError, Owner, Session, owner};
use crate::metrics;
use crate::statement;

impl Committer {
    /// Logs a failure of the infrastructure once, gives up a connection that is of no more use, and waits. Err when the
    /// catalogue says that the target is gone or has changed.
    pub(super) async fn recover(&mut self, error: &DbError, target: &Target) -> Result<(), Status> {
        self.complain(error);
        metrics::retry(error.label());
        if error.ends_connection() {
            self.session = None;
        }
        metrics::database_up(self.session.is_some());
        if owner_for(error, target) == Owner::Catalogue
            && let Ok(verdict) = self.try_confirm(target).await
        {
            verdict?;
        }
        tokio::time::sleep(self.backoff.next_delay()).await;
        Ok(())
    }

    fn complain(&mut self, error: &DbError) {
        let complaint = error.to_string();
        if self.complaint.as_ref() != Some(&complaint) {
            tracing::warn!(error = complaint, "cannot store; trying again");
            self.complaint = Some(complaint);
        }
    }

    pub(super) fn note_success(&mut self) {
        self.backoff.reset();
        if self.complaint.take().is_some() {
            tracing::info!("storing again");
        }
    }

    /// Whether the table is the known one and takes rows: no read-only database, no lock, no missing privilege, no
    /// trigger that refuses everything. The inner result is the catalogue's verdict on the target.
    pub(super) async fn try_probe(&mut self, target: &Target) -> Result<Result<(), Status>, DbError> {
        if let Err(status) = self.try_confirm(target).await? {
            return Ok(Err(status));
        }
        statement::insert_nothing(self.session().await?, target).await.map(Ok)
    }

    /// The connection, made anew where there is none.
    pub(super) async fn session(&mut self) -> Result<&mut Session, DbError> {
        let session = match self.session.take() {
            Some(session) => session,
            None => self.shared.database.connect().await?,
        };
        Ok(self.session.insert(session))
    }
}

/// NULL in a column that the stream does not fill is no record's doing.
pub(super) fn owner_for(error: &DbError, target: &Target) -> Owner {
    let unfilled = |column: &String| !target.has_column(column);
    match error {
        DbError::Server(error)
            if error.sqlstate == "23502" && error.column.as_ref().is_some_and(unfilled) =>
        {
            Owner::Catalogue
        }
        _ => owner(error),
    }
}
