//! A transaction of several statements, each of which can be undone by itself.

use super::{DbError, Session};

/// When it is dropped without a commit, it stays open on its connection: call [`Session::roll_back`].
#[derive(Debug)]
pub(crate) struct Transaction<'session> {
    session: &'session mut Session,
}

impl<'session> Transaction<'session> {
    /// Deferred constraints are checked by each statement, as if it were a transaction of its own.
    pub(crate) async fn begin(session: &'session mut Session) -> Result<Self, DbError> {
        session.control("BEGIN; SET CONSTRAINTS ALL IMMEDIATE; SAVEPOINT part").await?;
        Ok(Self { session })
    }

    pub(crate) fn session(&mut self) -> &mut Session {
        self.session
    }

    /// Keeps the statements since the last call of this kind, provided that the transaction is committed.
    pub(crate) async fn keep(&mut self) -> Result<(), DbError> {
        self.session.control("RELEASE SAVEPOINT part; SAVEPOINT part").await
    }

    /// Undoes the statements since the last [`Self::keep`]; required after a statement that failed.
    pub(crate) async fn undo(&mut self) -> Result<(), DbError> {
        self.session.control("ROLLBACK TO SAVEPOINT part").await
    }

    /// Fails when the transaction has failed, where COMMIT alone would roll back without an error.
    pub(crate) async fn commit(self) -> Result<(), DbError> {
        self.session.control("RELEASE SAVEPOINT part; COMMIT").await
    }
}
