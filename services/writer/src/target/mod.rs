//! The target of a stream, resolved against the catalogue.

mod definition;
mod own;
mod sql;
mod upsert;
mod upsert_rule;

use std::sync::Arc;

use tonic::Status;
use veilpost_proto::v1;

pub(crate) use own::OwnParts;
pub(crate) use sql::{InsertMode, InsertStatements};

use crate::catalogue::{Privilege, Table, TableColumn, TableName};
use crate::database::{DbError, ServerError};
use upsert_rule::UpsertRule;

/// The table, the columns that a stream fills, and the statements that fill them.
#[derive(Debug)]
pub(crate) struct ResolvedTarget {
    pub(crate) table: Arc<Table>,
    pub(crate) columns: Vec<TableColumn>,
    /// What happens to a row whose business key is in the table already, as its sender wants it.
    on_conflict: Option<v1::OnConflict>,
    /// The same, resolved.
    rule: Option<UpsertRule>,
    pub(crate) statements: InsertStatements,
}

/// Why a stream cannot write to the target that it names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Mismatch {
    #[error("unknown table {0}")]
    Table(String),
    #[error("unknown column {0}")]
    Column(String),
    #[error("column {0} {1}")]
    Unusable(String, String),
    #[error("column {0} is NOT NULL without a default, but is not among the target's columns")]
    Missing(String),
    #[error("column {0} is named twice")]
    Twice(String),
    #[error("no columns")]
    NoColumns,
    #[error("on_conflict: {0}")]
    Rule(String),
    #[error("on_conflict: {0}")]
    Index(String),
    #[error("{0}")]
    Rights(String),
}

impl From<Mismatch> for Status {
    fn from(mismatch: Mismatch) -> Self {
        match mismatch {
            Mismatch::Twice(_) | Mismatch::NoColumns | Mismatch::Rule(_) => {
                Self::invalid_argument(mismatch.to_string())
            }
            _ => Self::failed_precondition(mismatch.to_string()),
        }
    }
}

impl ResolvedTarget {
    pub(crate) fn resolve(table: &Arc<Table>, wanted: &v1::Target) -> Result<Self, Mismatch> {
        if !table.is_named(&TableName::parse(&wanted.table)) {
            return Err(Mismatch::Table(wanted.table.clone()));
        }
        let columns = resolve_columns(table, &wanted.columns)?;
        if let Some(missing) = missing_column(table, &columns) {
            return Err(Mismatch::Missing(missing.name.clone()));
        }
        let on_conflict = wanted.on_conflict.clone();
        let rule = on_conflict.as_ref().map(|wanted| UpsertRule::resolve(table, &columns, wanted));
        let rule = rule.transpose()?;
        let statements = InsertStatements::new(table, &columns, rule.as_ref());
        Ok(Self { table: Arc::clone(table), columns, on_conflict, rule, statements })
    }

    /// Whether one statement can store records of both.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.table, &other.table)
            && self.columns == other.columns
            && self.on_conflict == other.on_conflict
    }

    /// The privileges on columns that storing needs: their names in GRANT, and the columns.
    pub(crate) fn privileges(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let insert = self.columns.iter().map(|column| ("INSERT", &*column.name));
        let of_rule = [Privilege::Select, Privilege::Update].into_iter().flat_map(move |privilege| {
            let needs =
                move |position| self.rule.as_ref().is_some_and(|rule| rule.needs(privilege, position));
            let columns = self.columns.iter().enumerate().filter(move |(position, _)| needs(*position));
            columns.map(move |(_, column)| (privilege.name(), &*column.name))
        });
        insert.chain(of_rule)
    }

    /// The status that ends a stream with this target after the table's definition has changed to `table`.
    pub(crate) fn outdated_by(&self, table: &Arc<Table>) -> Status {
        let columns = self.columns.iter().map(|column| column.name.clone()).collect();
        let table_name = format!("{}.{}", self.table.schema, self.table.name);
        let wanted = v1::Target { table: table_name, columns, on_conflict: self.on_conflict.clone() };
        match Self::resolve(table, &wanted) {
            Ok(_) => Status::unavailable("the table's definition has changed"),
            Err(mismatch) => mismatch.into(),
        }
    }

    /// Whether NULL is refused in a column that the stream does not fill.
    fn lacks_value(&self, error: &ServerError) -> bool {
        error.sqlstate == "23502"
            && !error.is_nested
            && error.column.as_ref().is_some_and(|column| !self.has_column(column))
    }

    /// The same for any error.
    pub(crate) fn lacks_value_by(&self, error: &DbError) -> bool {
        matches!(error, DbError::Server(error) if self.lacks_value(error))
    }

    fn has_column(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column.name == name)
    }
}

fn resolve_columns(table: &Table, names: &[String]) -> Result<Vec<TableColumn>, Mismatch> {
    if names.is_empty() {
        return Err(Mismatch::NoColumns);
    }
    let mut columns: Vec<TableColumn> = Vec::with_capacity(names.len());
    for name in names {
        if columns.iter().any(|column| column.name == *name) {
            return Err(Mismatch::Twice(name.clone()));
        }
        let column = table.columns.iter().find(|column| column.name == *name);
        let column = column.ok_or_else(|| Mismatch::Column(name.clone()))?;
        if let Some(why) = &column.unusable {
            return Err(Mismatch::Unusable(name.clone(), why.clone()));
        }
        columns.push(column.clone());
    }
    Ok(columns)
}

/// A column that is NOT NULL and that nothing fills. Every record would violate it, which is the policy's
/// fault and not a record's.
fn missing_column<'table>(table: &'table Table, columns: &[TableColumn]) -> Option<&'table TableColumn> {
    let filled = |column: &TableColumn| columns.iter().any(|filled| filled.name == column.name);
    table.columns.iter().find(|column| {
        column.not_null && !column.has_default && !table.has_before_triggers && !filled(column)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::fixtures::{column, table};

    fn resolve(table: &Arc<Table>, name: &str, columns: &[&str]) -> Result<(), Mismatch> {
        let columns = columns.iter().map(ToString::to_string).collect();
        let wanted = v1::Target { table: name.to_owned(), columns, ..v1::Target::default() };
        ResolvedTarget::resolve(table, &wanted).map(|_| ())
    }

    #[test]
    fn names_that_the_catalogue_holds_for_the_same_are_the_same() {
        let table = table(vec![column("a")]);
        assert_eq!(resolve(&table, "logins", &["a"]), Ok(()));
        assert_eq!(resolve(&table, "public.logins", &["a"]), Ok(()));
        for other in ["audit.logins", "Logins", "", "other"] {
            assert_eq!(resolve(&table, other, &["a"]), Err(Mismatch::Table(other.to_owned())), "{other}");
        }
    }

    #[test]
    fn an_unqualified_name_that_does_not_reach_the_table_is_unknown() {
        let mut hidden = (*table(vec![column("a")])).clone();
        hidden.visible = false;
        assert!(resolve(&Arc::new(hidden), "logins", &["a"]).is_err());
    }

    #[test]
    fn columns_must_exist_once_and_take_values() {
        let array = TableColumn { unusable: Some("is an array".into()), ..column("tags") };
        let table = table(vec![column("a"), array]);
        assert_eq!(resolve(&table, "logins", &["b"]), Err(Mismatch::Column("b".into())));
        assert_eq!(resolve(&table, "logins", &["a", "a"]), Err(Mismatch::Twice("a".into())));
        assert_eq!(
            resolve(&table, "logins", &["tags"]),
            Err(Mismatch::Unusable("tags".into(), "is an array".into()))
        );
        assert_eq!(resolve(&table, "logins", &[]), Err(Mismatch::NoColumns));
    }

    #[test]
    fn a_not_null_column_must_be_filled_by_someone() {
        let strict = TableColumn { not_null: true, ..column("b") };
        let known = table(vec![column("a"), strict.clone()]);
        assert_eq!(resolve(&known, "logins", &["a"]), Err(Mismatch::Missing("b".into())));
        assert_eq!(resolve(&known, "logins", &["a", "b"]), Ok(()));
        let defaulted = table(vec![column("a"), TableColumn { has_default: true, ..strict }]);
        assert_eq!(resolve(&defaulted, "logins", &["a"]), Ok(()));
    }
}
