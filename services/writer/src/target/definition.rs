//! The check within a storing statement that table and columns are still what the writer has read.

use crate::catalogue::{Table, TableColumn};
use crate::database::literal;

/// The SQL of a query of one row: whether the name still means this table, and the columns still have their
/// types.
///
/// A statement takes its snapshot after its lock on the table, and no definition changes under that lock, so
/// the answer holds for the whole statement. Without it, a plan made before `ALTER TABLE … TYPE` would go on
/// to cast values to the old type and then to the new one, and store something else than was sent. An
/// unlogged table is refused here as well: a crash would lose its rows.
pub(super) fn is_current(table: &Table, columns: &[TableColumn]) -> String {
    let unchanged: Vec<_> = columns.iter().map(unchanged).collect();
    let (count, oid) = (columns.len(), table.oid);
    let (schema, name) = (literal(&table.schema), literal(&table.name));
    format!(
        "SELECT pg_catalog.count(*) OPERATOR(pg_catalog.=) {count}::pg_catalog.int8 AS is_current \
         FROM pg_catalog.pg_attribute a \
         JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) a.attrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
         WHERE a.attrelid OPERATOR(pg_catalog.=) {oid}::pg_catalog.oid \
         AND n.nspname OPERATOR(pg_catalog.=) {schema}::pg_catalog.name \
         AND c.relname OPERATOR(pg_catalog.=) {name}::pg_catalog.name \
         AND c.relpersistence OPERATOR(pg_catalog.=) 'p'::pg_catalog.\"char\" \
         AND ({})",
        unchanged.join(" OR ")
    )
}

/// A column's name is unique in its table, and a dropped column has another name.
fn unchanged(column: &TableColumn) -> String {
    let (name, declared) = (literal(&column.name), column.declared);
    format!(
        "(a.attname OPERATOR(pg_catalog.=) {name}::pg_catalog.name \
         AND a.atttypid OPERATOR(pg_catalog.=) '{}'::pg_catalog.oid \
         AND a.atttypmod OPERATOR(pg_catalog.=) '{}'::pg_catalog.int4)",
        declared.oid, declared.typmod
    )
}
