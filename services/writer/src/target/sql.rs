//! The SQL that stores records: one statement is one transaction.

use std::sync::Arc;

use crate::catalogue::{Table, TableColumn};

/// The statements that store records of one target.
#[derive(Debug)]
pub(crate) struct InsertStatements {
    plain: Arc<str>,
    skipping: Arc<str>,
    #[cfg(feature = "bench")]
    without_ledger: Arc<str>,
}

/// What a statement does with a record whose key is already in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InsertMode {
    /// The whole statement fails with a unique violation. This is the faster statement.
    Plain,
    /// The record is skipped; the statement returns the keys that were new.
    Skipping,
}

impl InsertStatements {
    pub(super) fn new(table: &Table, columns: &[TableColumn]) -> Self {
        let rows = Rows::new(table, columns, 3);
        let Rows { into, .. } = &rows;
        let keys = "INSERT INTO veilpost.ledger (slot, key) SELECT unnest($1::int2[]), unnest($2::uuid[])";
        let plain = format!("WITH keys AS ({keys}) {}", rows.insert());
        let given = rows.list(|index, array, _| format!("{array} AS c{index}"));
        // Only values of new records are cast: the values of a duplicate are not checked again.
        let values = rows.list(|index, _, cast| format!("CAST(given.c{index} AS {cast})"));
        let skipping = format!(
            "WITH fresh AS ({keys} ON CONFLICT DO NOTHING RETURNING key), \
             given AS (SELECT unnest($2::uuid[]) AS key, {given}), \
             stored AS (INSERT INTO {into} SELECT {values} FROM given JOIN fresh ON fresh.key = given.key) \
             SELECT key FROM fresh"
        );
        Self {
            plain: plain.into(),
            skipping: skipping.into(),
            #[cfg(feature = "bench")]
            without_ledger: Rows::new(table, columns, 1).insert().into(),
        }
    }

    /// Parameters: slots, keys, then one array of texts for each column.
    pub(crate) fn sql(&self, mode: InsertMode) -> Arc<str> {
        Arc::clone(match mode {
            InsertMode::Plain => &self.plain,
            InsertMode::Skipping => &self.skipping,
        })
    }

    /// Stores rows without their keys, which no service ever does. Parameters: one array of texts for each
    /// column.
    #[cfg(feature = "bench")]
    pub(crate) fn without_ledger(&self) -> Arc<str> {
        Arc::clone(&self.without_ledger)
    }
}

/// The parts of a statement that are about rows and not about keys.
struct Rows {
    /// The table and its columns.
    into: String,
    /// For each column the SQL of an array with one element a row, and the type that the elements are cast
    /// to.
    ///
    /// `unnest` stands in the list of a SELECT, which hands rows on one by one; in FROM it would materialise
    /// all of them first.
    columns: Vec<(String, String)>,
}

impl Rows {
    /// Values travel as text, in parameters from `first` on, and are cast to the column's base type without
    /// its length. The assignment to the column then rejects what is too long, where a cast with the length
    /// would cut it.
    fn new(table: &Table, columns: &[TableColumn], first: usize) -> Self {
        let names: Vec<_> = columns.iter().map(|column| quoted(&column.name)).collect();
        let into = format!("{}.{} ({})", quoted(&table.schema), quoted(&table.name), names.join(", "));
        let arrays = (first..).map(|parameter| format!("unnest(${parameter}::text[])"));
        let columns = arrays.zip(columns.iter().map(|column| column.cast.clone())).collect();
        Self { into, columns }
    }

    fn insert(&self) -> String {
        let values = self.list(|_, array, cast| format!("CAST({array} AS {cast})"));
        format!("INSERT INTO {} SELECT {values}", self.into)
    }

    /// What `item` makes of each column's position, array and type, as a list.
    fn list(&self, item: impl Fn(usize, &str, &str) -> String) -> String {
        let columns = self.columns.iter().enumerate();
        let items: Vec<_> = columns.map(|(index, (array, cast))| item(index, array, cast)).collect();
        items.join(", ")
    }
}

/// A name as an identifier in SQL.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::fixtures::{column, table};
    use proptest::prelude::*;

    #[test]
    fn both_statements_cast_without_length_and_assign() {
        let table = table(vec![column("locale")]);
        let InsertStatements { plain, skipping, .. } = InsertStatements::new(&table, &table.columns);
        for (sql, value) in [(&plain, "unnest($3::text[])"), (&skipping, "given.c0")] {
            let insert = format!(r#"INSERT INTO "public"."logins" ("locale") SELECT CAST({value} AS text)"#);
            assert!(sql.contains(&insert), "{sql}");
        }
        assert!(!plain.contains("ON CONFLICT"));
        assert!(skipping.contains("ON CONFLICT DO NOTHING"));
    }

    proptest! {
        #[test]
        fn a_name_never_leaves_its_quotes(name in "[a\"; ]{1,20}") {
            let quoted = quoted(&name);
            let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap();
            prop_assert_eq!(inner.replace("\"\"", "").matches('"').count(), 0);
            prop_assert_eq!(inner.replace("\"\"", "\""), name);
        }
    }
}
