//! The pinned table as Postgres's own catalogue describes it.

mod column;
mod read;
mod table;
mod target;

use std::sync::{Arc, PoisonError, RwLock};

pub(crate) use column::{Column, Kind, NumericShape, TextLimit};
pub(crate) use read::ReadError;
pub(crate) use table::{Table, TableName};
pub(crate) use target::{Mismatch, Target};

#[cfg(test)]
pub(crate) use target::tests;

use crate::database::Session;

/// The pinned table's latest known definition, shared by all streams and committers.
#[derive(Debug)]
pub(crate) struct Catalogue {
    pinned: TableName,
    current: RwLock<Option<Arc<Table>>>,
}

impl Catalogue {
    pub(crate) fn new(pinned: TableName) -> Self {
        Self { pinned, current: RwLock::default() }
    }

    /// What was last read; None when the table was gone or unfit.
    pub(crate) fn current(&self) -> Option<Arc<Table>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the target was made from the latest known definition.
    pub(crate) fn knows(&self, target: &Target) -> bool {
        self.current().is_some_and(|table| Arc::ptr_eq(&table, &target.table))
    }

    /// Reads the definition again. Targets made before stay current exactly when nothing has changed.
    pub(crate) async fn refresh(&self, session: &mut Session) -> Result<Arc<Table>, ReadError> {
        let found = read::read(session, &self.pinned).await;
        if let Err(ReadError::Database(_)) = found {
            return found.map(Arc::new);
        }
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let table = match (found, current.take()) {
            (Ok(table), Some(known)) if *known == table => known,
            (Ok(table), _) => Arc::new(table),
            (Err(error), _) => return Err(error),
        };
        *current = Some(Arc::clone(&table));
        Ok(table)
    }
}
