//! The target table as Postgres's own catalogue describes it.

mod column;
mod denial;
mod privileges;
mod read;
mod table;
mod unique_index;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

pub(crate) use column::{
    ColumnKind, ColumnRights, DateTimeType, DeclaredType, NumericShape, Privilege, TableColumn, TextLimit,
};
pub(crate) use denial::{explain_denial, explain_foreign_owner};
pub(crate) use privileges::missing_privileges;
pub(crate) use read::ReadError;
pub(crate) use table::{Table, TableName};
pub(crate) use unique_index::UniqueIndex;

use crate::database::Session;

/// The latest known definition of the table, shared by all streams and committers.
#[derive(Debug)]
pub(crate) struct Catalogue {
    table: TableName,
    current: RwLock<Known>,
    /// How many reads have begun.
    reads: AtomicU64,
}

/// What the newest of the reads that have ended has found.
#[derive(Debug, Default)]
struct Known {
    table: Option<Arc<Table>>,
    read: u64,
}

impl Catalogue {
    pub(crate) fn new(table: TableName) -> Self {
        Self { table, current: RwLock::default(), reads: AtomicU64::new(0) }
    }

    /// The definition that was read last; None when the table was missing or unfit.
    pub(crate) fn current(&self) -> Option<Arc<Table>> {
        self.current.read().table.clone()
    }

    /// Whether this is the definition that was read last.
    pub(crate) fn is_current(&self, table: &Arc<Table>) -> bool {
        self.current().is_some_and(|current| Arc::ptr_eq(&current, table))
    }

    /// Reads the definition again. When nothing has changed, the result is the same `Arc` as before.
    pub(crate) async fn refresh(&self, session: &mut Session) -> Result<Arc<Table>, ReadError> {
        let read = self.begin_read();
        let found = read::read(session, &self.table).await;
        self.end_read(read, found)
    }

    fn begin_read(&self) -> u64 {
        self.reads.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Several connections read at once. What a slow read has found must not take the place of what a later
    /// one knows: streams would be opened by a definition that is gone.
    fn end_read(&self, read: u64, found: Result<Table, ReadError>) -> Result<Arc<Table>, ReadError> {
        if let Err(ReadError::Database(_)) = found {
            return found.map(Arc::new);
        }
        let mut current = self.current.write();
        if read < current.read {
            return current.table.clone().map_or_else(|| found.map(Arc::new), Ok);
        }
        current.read = read;
        let table = match (found, current.table.take()) {
            (Ok(table), Some(known)) if *known == table => known,
            (Ok(table), _) => Arc::new(table),
            (Err(error), _) => return Err(error),
        };
        current.table = Some(Arc::clone(&table));
        Ok(table)
    }
}

#[cfg(test)]
pub(crate) mod fixtures {
    //! Columns and tables for the tests of this crate.

    use super::{Arc, ColumnKind, ColumnRights, DeclaredType, Table, TableColumn, TextLimit, UniqueIndex};

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
            sql_name: name.to_owned(),
            collation: Some("pg_catalog.\"default\"".to_owned()),
            is_ordered: true,
            rights: ColumnRights { select: true, update: true },
        }
    }

    /// An index that serves as the key of `on_conflict`.
    pub(crate) fn unique_index(columns: &[&str]) -> UniqueIndex {
        UniqueIndex {
            name: "only_once".to_owned(),
            columns: columns.iter().map(ToString::to_string).collect(),
            unused: None,
            unfit: None,
            nulls_distinct: true,
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
            unique_indexes: Vec::new(),
            sql_name: "public.logins".to_owned(),
            role: "writer".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::{column, table};
    use super::*;

    fn found(name: &str) -> Table {
        (*table(vec![column(name)])).clone()
    }

    #[test]
    fn a_slow_read_does_not_bring_an_older_definition_back() {
        let catalogue = Catalogue::new(TableName::parse("logins"));
        let (slow, quick) = (catalogue.begin_read(), catalogue.begin_read());
        let new = catalogue.end_read(quick, Ok(found("new"))).unwrap();
        let old = catalogue.end_read(slow, Ok(found("old"))).unwrap();
        assert!(Arc::ptr_eq(&new, &old) && catalogue.is_current(&new));
        let later = catalogue.begin_read();
        assert!(
            Arc::ptr_eq(&new, &catalogue.end_read(later, Ok(found("new"))).unwrap()),
            "nothing has changed"
        );
        let unfit = catalogue.begin_read();
        assert!(catalogue.end_read(unfit, Err(ReadError::Unfit("it is a view".to_owned()))).is_err());
        assert!(catalogue.current().is_none());
    }
}
