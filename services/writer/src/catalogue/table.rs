//! The target table and its name.

use std::fmt;

use super::{TableColumn, UniqueIndex};

/// A table's name as settings and senders write it: `table` or `schema.table`, in the catalogue's spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableName {
    pub(crate) schema: Option<String>,
    pub(crate) name: String,
}

impl TableName {
    pub(crate) fn parse(text: &str) -> Self {
        match text.split_once('.') {
            Some((schema, name)) => Self { schema: Some(schema.to_owned()), name: name.to_owned() },
            None => Self { schema: None, name: text.to_owned() },
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(formatter, "{schema}.{}", self.name),
            None => formatter.write_str(&self.name),
        }
    }
}

/// The target table's definition in the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) oid: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    /// Whether its unqualified name finds it.
    pub(crate) visible: bool,
    /// Whether a trigger may change a row before its constraints are checked.
    pub(crate) has_before_triggers: bool,
    pub(crate) columns: Vec<TableColumn>,
    pub(crate) unique_indexes: Vec<UniqueIndex>,
    /// Its schema and name as SQL writes them.
    pub(crate) sql_name: String,
    /// The role that has read this, as SQL writes it.
    pub(crate) role: String,
}

impl Table {
    /// Whether the name, looked up in the catalogue, means this table.
    pub(crate) fn is_named(&self, name: &TableName) -> bool {
        let same_schema = name.schema.as_ref().map_or(self.visible, |schema| *schema == self.schema);
        same_schema && name.name == self.name
    }
}
