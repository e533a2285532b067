//! The SQL that stores records: one statement is one transaction.

use std::sync::Arc;

use super::definition::is_current;
use crate::catalogue::{Table, TableColumn};
use crate::database::quoted;

/// Writes a small record to the write-ahead log, and gives one row.
///
/// A transaction that writes no log waits for no standby. Without this, a statement that finds every key
/// known would report duplicates at once, even when a crash has interrupted the commit that stored them and
/// they are on the primary alone. With it, the commit waits until the standby has everything before it.
const LOGGED: &str =
    "pg_catalog.pg_logical_emit_message(true, 'veilpost'::pg_catalog.text, ''::pg_catalog.text)";

/// The first parameter of a statement that holds values.
const PLAIN_ROWS: usize = 3;
const SKIPPING_ROWS: usize = 4;

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
    /// The record is skipped; the statement returns the keys that were new, or one NULL when there are none,
    /// each with whether the definition was still current. Its commit waits for a synchronous standby in
    /// either case.
    Skipping,
}

impl InsertStatements {
    pub(super) fn new(table: &Table, columns: &[TableColumn]) -> Self {
        // While the definition differs from the known one, a statement inserts nothing.
        let definition = format!("definition AS MATERIALIZED ({})", is_current(table, columns));
        let known = "WHERE (SELECT is_current FROM definition)";
        let keys = format!(
            "INSERT INTO veilpost.ledger (slot, key) \
             SELECT pg_catalog.unnest($1::pg_catalog.int2[]), pg_catalog.unnest($2::pg_catalog.uuid[]) {known}"
        );
        // Postgres runs a WITH query that nothing reads after the main statement. So a known key ends the
        // statement before any row is written, and leaves no dead rows in the user's table.
        let plain = format!(
            "WITH {definition}, stored AS ({} {known}) {keys}",
            Rows::new(table, columns, PLAIN_ROWS).insert()
        );
        let rows = Rows::new(table, columns, SKIPPING_ROWS);
        let Rows { into, .. } = &rows;
        let given = rows.list(|index, array, _| format!("{array} AS c{index}"));
        // Only values of new records are cast: the values of a duplicate are not checked again.
        let values = rows.list(|index, _, cast| format!("CAST(given.c{index} AS {cast})"));
        let skipping = format!(
            "WITH {definition}, fresh AS ({keys} ON CONFLICT DO NOTHING RETURNING key), \
             given AS (SELECT pg_catalog.unnest($3::pg_catalog.uuid[]) AS key, {given}), \
             stored AS (INSERT INTO {into} SELECT {values} FROM given \
                        JOIN fresh ON fresh.key OPERATOR(pg_catalog.=) given.key) \
             SELECT fresh.key, definition.is_current FROM definition, {LOGGED} LEFT JOIN fresh ON true"
        );
        Self {
            plain: plain.into(),
            skipping: skipping.into(),
            #[cfg(feature = "bench")]
            without_ledger: Rows::new(table, columns, 1).insert().into(),
        }
    }

    /// Parameters: slots, keys, for skipping the key of each row, then one array of texts for each column.
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
    /// Functions, types and operators are qualified: others may be able to create some of the same name in a
    /// schema on the search path. `unnest` stands in the list of a SELECT, which hands rows on one by one; in
    /// FROM it would materialise all of them first.
    columns: Vec<(String, String)>,
}

impl Rows {
    /// Values travel as text, in parameters from `first` on, and are cast to the column's base type without
    /// its length. The assignment to the column then rejects what is too long, where a cast with the length
    /// would cut it.
    fn new(table: &Table, columns: &[TableColumn], first: usize) -> Self {
        let names: Vec<_> = columns.iter().map(|column| quoted(&column.name)).collect();
        let into = format!("{}.{} ({})", quoted(&table.schema), quoted(&table.name), names.join(", "));
        let arrays = (first..).map(|parameter| format!("pg_catalog.unnest(${parameter}::pg_catalog.text[])"));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::fixtures::{column, table};

    #[test]
    fn both_statements_cast_without_length_and_assign() {
        let table = table(vec![column("locale")]);
        let InsertStatements { plain, skipping, .. } = InsertStatements::new(&table, &table.columns);
        for (sql, value) in [(&plain, "pg_catalog.unnest($3::pg_catalog.text[])"), (&skipping, "given.c0")] {
            let insert = format!(r#"INSERT INTO "public"."logins" ("locale") SELECT CAST({value} AS text)"#);
            assert!(sql.contains(&insert), "{sql}");
        }
        assert!(!plain.contains("ON CONFLICT"));
        assert!(skipping.contains("ON CONFLICT DO NOTHING"));
    }

    #[test]
    fn no_function_is_looked_up_on_the_search_path() {
        let table = table(vec![column("locale")]);
        let InsertStatements { plain, skipping, .. } = InsertStatements::new(&table, &table.columns);
        for sql in [plain, skipping] {
            for function in ["unnest(", "pg_logical_emit_message(", "count("] {
                let qualified = sql.matches(&format!("pg_catalog.{function}")).count();
                assert_eq!(sql.matches(function).count(), qualified, "{sql}");
            }
        }
    }

    #[test]
    fn keys_are_inserted_before_rows() {
        let table = table(vec![column("locale")]);
        let InsertStatements { plain, .. } = InsertStatements::new(&table, &table.columns);
        let (with, main) = plain.split_once(") INSERT INTO veilpost.ledger").unwrap();
        assert!(with.contains(r#", stored AS (INSERT INTO "public"."logins""#), "{plain}");
        assert!(main.contains("$2::pg_catalog.uuid[]"), "{plain}");
    }
}
