//! The pinned table and its name.

use std::fmt;

use super::Column;

/// A table's name as settings and senders write it: literal, optionally qualified by its schema.
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

/// What the catalogue says of the pinned table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) oid: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    /// An unqualified name finds it.
    pub(crate) visible: bool,
    /// A trigger may change a row before its constraints are checked.
    pub(crate) has_before_triggers: bool,
    pub(crate) columns: Vec<Column>,
}

impl Table {
    /// Whether the name, looked up in the catalogue, is this table.
    pub(super) fn is_named(&self, name: &TableName) -> bool {
        let same_schema = name.schema.as_ref().map_or(self.visible, |schema| *schema == self.schema);
        same_schema && name.name == self.name
    }
}
