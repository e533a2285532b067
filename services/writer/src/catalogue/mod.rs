//! The target table as Postgres's own catalogue describes it.

mod column;
mod denial;
mod privileges;
mod read;
mod table;

use std::sync::Arc;

use parking_lot::RwLock;

pub(crate) use column::{ColumnKind, DateTimeType, DeclaredType, NumericShape, TableColumn, TextLimit};
pub(crate) use denial::{explain_denial, explain_foreign_owner};
pub(crate) use privileges::missing_privileges;
pub(crate) use read::ReadError;
pub(crate) use table::{Table, TableName};

use crate::database::Session;

/// The latest known definition of the table, shared by all streams and committers.
#[derive(Debug)]
pub(crate) struct Catalogue {
    table: TableName,
    current: RwLock<Option<Arc<Table>>>,
}

impl Catalogue {
    pub(crate) fn new(table: TableName) -> Self {
        Self { table, current: RwLock::default() }
    }

    /// The definition that was read last; None when the table was missing or unfit.
    pub(crate) fn current(&self) -> Option<Arc<Table>> {
        self.current.read().clone()
    }

    /// Whether this is the definition that was read last.
    pub(crate) fn is_current(&self, table: &Arc<Table>) -> bool {
        self.current().is_some_and(|current| Arc::ptr_eq(&current, table))
    }

    /// Reads the definition again. When nothing has changed, the result is the same `Arc` as before.
    pub(crate) async fn refresh(&self, session: &mut Session) -> Result<Arc<Table>, ReadError> {
        let found = read::read(session, &self.table).await;
        if let Err(ReadError::Database(_)) = found {
            return found.map(Arc::new);
        }
        let mut current = self.current.write();
        let table = match (found, current.take()) {
            (Ok(table), Some(known)) if *known == table => known,
            (Ok(table), _) => Arc::new(table),
            (Err(error), _) => return Err(error),
        };
        *current = Some(Arc::clone(&table));
        Ok(table)
    }
}

#[cfg(test)]
pub(crate) mod fixtures {
    //! Columns and tables for the tests of this crate.

    use super::{Arc, ColumnKind, DeclaredType, Table, TableColumn, TextLimit};

    pub(crate) fn column(name: &str) -> TableColumn {
        TableColumn {
            name: name.to_owned(),
            kind: ColumnKind::Text { limit: TextLimit::None },
            is_array: false,
            type_name: "text".to_owned(),
            cast: "text".to_owned(),
            type_oid: 25,
            typmod: -1,
            declared: DeclaredType { oid: 25, typmod: -1 },
            not_null: false,
            has_default: false,
            unusable: None,
        }
    }

    /// Table `public.logins`.
    pub(crate) fn table(columns: Vec<TableColumn>) -> Arc<Table> {
        Arc::new(Table {
            oid: 1,
            schema: "public".to_owned(),
            name: "logins".to_owned(),
            visible: true,
            has_before_triggers: false,
            columns,
        })
    }
}
