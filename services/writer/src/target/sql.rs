//! The SQL that stores records: one statement is one transaction.

use std::sync::Arc;

use super::definition::is_current;
use super::upsert::upserting;
use super::upsert_rule::UpsertRule;
use crate::catalogue::{Table, TableColumn};
use crate::database::quoted;

/// Writes a small record to the write-ahead log, and gives one row.
///
/// A transaction that writes no log waits for no standby. Without this, a statement that finds every key
/// known would report duplicates at once, even when a crash has interrupted the commit that stored them and
/// they are on the primary alone. With it, the commit waits until the standby has everything before it.
pub(super) const LOGGED: &str =
    "pg_catalog.pg_logical_emit_message(true, 'veilpost'::pg_catalog.text, ''::pg_catalog.text)";

/// The first parameter of a statement that holds values.
const PLAIN_ROWS: usize = 3;
const SKIPPING_ROWS: usize = 4;

/// The statements that store records of one target.
#[derive(Debug)]
pub(crate) struct InsertStatements {
    /// None for a target with `on_conflict`: most of the time goes into its rows, so that one statement is
    /// enough.
    plain: Option<Arc<str>>,
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
    /// each with whether the definition was still current, and with how many rows of new records gave way to
    /// others by `on_conflict`. Its commit waits for a synchronous standby in either case.
    Skipping,
}

impl InsertStatements {
    pub(super) fn new(table: &Table, columns: &[TableColumn], rule: Option<&UpsertRule>) -> Self {
        let ledger = LedgerParts::new(table, columns);
        let rows = Rows::new(table, columns, SKIPPING_ROWS);
        Self {
            plain: rule.is_none().then(|| plain(&ledger, &Rows::new(table, columns, PLAIN_ROWS)).into()),
            skipping: rule
                .map_or_else(|| skipping(&ledger, &rows), |rule| upserting(&ledger, &rows, columns, rule))
                .into(),
            #[cfg(feature = "bench")]
            without_ledger: Rows::new(table, columns, 1).insert().into(),
        }
    }

    /// How records are stored at first.
    pub(crate) fn first_mode(&self) -> InsertMode {
        if self.plain.is_some() { InsertMode::Plain } else { InsertMode::Skipping }
    }

    /// Whether it matters in which order rows are bound: by `on_conflict`, which of two rows with one key
    /// came first.
    pub(crate) fn keep_order_of_rows(&self) -> bool {
        self.plain.is_none()
    }

    /// Parameters: slots, keys, for skipping the key of each row, then one array of texts for each column.
    pub(crate) fn sql(&self, mode: InsertMode) -> Arc<str> {
        let plain = self.plain.as_ref().filter(|_| mode == InsertMode::Plain);
        assert!(plain.is_some() || mode == InsertMode::Skipping, "it has no plain statement");
        Arc::clone(plain.unwrap_or(&self.skipping))
    }

    /// Stores rows without their keys, which no service ever does. Parameters: one array of texts for each
    /// column.
    #[cfg(feature = "bench")]
    pub(crate) fn without_ledger(&self) -> Arc<str> {
        Arc::clone(&self.without_ledger)
    }
}

/// Postgres runs a WITH query that nothing reads after the main statement. So a known key ends the statement
/// before any row is written, and leaves no dead rows in the user's table.
fn plain(ledger: &LedgerParts, rows: &Rows) -> String {
    let LedgerParts { definition, known, keys } = ledger;
    format!("WITH {definition}, stored AS ({} {known}) {keys}", rows.insert())
}

fn skipping(ledger: &LedgerParts, rows: &Rows) -> String {
    let LedgerParts { definition, keys, .. } = ledger;
    let (into, given) = (&rows.into, rows.given());
    // Only values of new records are cast: the values of a duplicate are not checked again.
    let values = rows.list(|index, _, cast| format!("CAST(given.c{index} AS {cast})"));
    format!(
        "WITH {definition}, fresh AS ({keys} ON CONFLICT DO NOTHING RETURNING key), \
         given AS (SELECT pg_catalog.unnest($3::pg_catalog.uuid[]) AS key, {given}), \
         stored AS (INSERT INTO {into} SELECT {values} FROM given \
                    JOIN fresh ON fresh.key OPERATOR(pg_catalog.=) given.key) \
         SELECT fresh.key, definition.is_current, 0::pg_catalog.int8 AS superseded \
         FROM definition, {LOGGED} LEFT JOIN fresh ON true"
    )
}

/// The parts of a statement that are about keys and the table's definition.
pub(super) struct LedgerParts {
    /// A WITH query: while the definition differs from the known one, a statement inserts nothing.
    pub(super) definition: String,
    /// A WHERE that holds while the definition is the known one.
    known: &'static str,
    /// Inserts the keys.
    pub(super) keys: String,
}

impl LedgerParts {
    fn new(table: &Table, columns: &[TableColumn]) -> Self {
        let definition = format!("definition AS MATERIALIZED ({})", is_current(table, columns));
        let known = "WHERE (SELECT is_current FROM definition)";
        let keys = format!(
            "INSERT INTO veilpost.ledger (slot, key) \
             SELECT pg_catalog.unnest($1::pg_catalog.int2[]), pg_catalog.unnest($2::pg_catalog.uuid[]) {known}"
        );
        Self { definition, known, keys }
    }
}

/// The parts of a statement that are about rows and not about keys.
pub(super) struct Rows {
    /// The table.
    pub(super) table: String,
    /// The columns that are filled, as SQL writes them.
    pub(super) names: Vec<String>,
    /// The table and its columns.
    pub(super) into: String,
    /// The parameter with the values of the first column.
    first: usize,
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
        let table = format!("{}.{}", quoted(&table.schema), quoted(&table.name));
        let into = format!("{table} ({})", names.join(", "));
        let arrays = (first..).map(|parameter| format!("pg_catalog.unnest(${parameter}::pg_catalog.text[])"));
        let columns = arrays.zip(columns.iter().map(|column| column.cast.clone())).collect();
        Self { table, names, into, first, columns }
    }

    /// The values as texts, in columns c0, c1 and so on.
    pub(super) fn given(&self) -> String {
        self.list(|index, array, _| format!("{array} AS c{index}"))
    }

    /// The position of each row, from 1.
    pub(super) fn positions(&self) -> String {
        format!("pg_catalog.generate_subscripts(${}::pg_catalog.text[], 1)", self.first)
    }

    fn insert(&self) -> String {
        let values = self.list(|_, array, cast| format!("CAST({array} AS {cast})"));
        format!("INSERT INTO {} SELECT {values}", self.into)
    }

    /// What `item` makes of each column's position, array and type, as a list.
    pub(super) fn list(&self, item: impl Fn(usize, &str, &str) -> String) -> String {
        let columns = self.columns.iter().enumerate();
        let items: Vec<_> = columns.map(|(index, (array, cast))| item(index, array, cast)).collect();
        items.join(", ")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::catalogue::fixtures::{column, table};

    fn statements(table: &Table) -> (Arc<str>, Arc<str>) {
        let statements = InsertStatements::new(table, &table.columns, None);
        (statements.sql(InsertMode::Plain), statements.sql(InsertMode::Skipping))
    }

    pub(in crate::target) fn assert_functions_are_qualified(sql: &str) {
        let functions = [
            "unnest(",
            "pg_logical_emit_message(",
            "count(",
            "row_number(",
            "generate_subscripts(",
            "record_gt(",
        ];
        for function in functions {
            let qualified = sql.matches(&format!("pg_catalog.{function}")).count();
            assert_eq!(sql.matches(function).count(), qualified, "{function} in {sql}");
        }
    }

    #[test]
    fn both_statements_cast_without_length_and_assign() {
        let table = table(vec![column("locale")]);
        let (plain, skipping) = statements(&table);
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
        let (plain, skipping) = statements(&table);
        for sql in [plain, skipping] {
            assert_functions_are_qualified(&sql);
        }
    }

    #[test]
    fn keys_are_inserted_before_rows() {
        let table = table(vec![column("locale")]);
        let (plain, _) = statements(&table);
        let (with, main) = plain.split_once(") INSERT INTO veilpost.ledger").unwrap();
        assert!(with.contains(r#", stored AS (INSERT INTO "public"."logins""#), "{plain}");
        assert!(main.contains("$2::pg_catalog.uuid[]"), "{plain}");
    }
}
