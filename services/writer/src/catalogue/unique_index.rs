//! The unique indexes of the target table, one of which a business key needs.

use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};

/// Postgres before 15 has no `indnullsnotdistinct`.
pub(super) const UNIQUE_INDEXES: &str = "
    SELECT x.relname::text AS name,
           ARRAY(SELECT a.attname::text
                 FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, place)
                 JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                 WHERE k.place <= i.indnkeyatts ORDER BY k.place) AS columns,
           CASE
           WHEN NOT i.indisvalid OR NOT i.indisready THEN 'is not valid: its creation was interrupted, or still runs'
           WHEN i.indexprs IS NOT NULL THEN 'is on an expression'
           WHEN i.indpred IS NOT NULL THEN 'is partial: it has a WHERE'
           END AS unused,
           CASE
           WHEN NOT i.indimmediate THEN 'is of a constraint that is DEFERRABLE'
           WHEN EXISTS (SELECT FROM unnest(i.indclass::oid[]) given(oid) JOIN pg_opclass o ON o.oid = given.oid
                        WHERE NOT o.opcdefault AND o.opcnamespace <> 'pg_catalog'::regnamespace)
               THEN 'has an operator class of its own'
           WHEN EXISTS (SELECT FROM unnest(i.indcollation::oid[]) WITH ORDINALITY given(oid, place)
                        JOIN unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, place) ON k.place = given.place
                        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                        JOIN pg_collation l ON l.oid IN (given.oid, a.attcollation) AND NOT l.collisdeterministic
                        WHERE given.oid <> a.attcollation)
               THEN 'has another collation than its column'
           END AS unfit,
           NOT COALESCE((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false) AS nulls_distinct
    FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
    WHERE i.indrelid = $1::bigint::oid AND i.indisunique AND i.indislive
    ORDER BY x.relname";

/// A unique index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UniqueIndex {
    pub(crate) name: String,
    /// In its own order, expressions and included columns left out.
    pub(crate) columns: Vec<String>,
    /// Why Postgres does not find it by its columns.
    pub(crate) unused: Option<String>,
    /// Why it cannot serve when Postgres finds it: Postgres refuses it, or it takes values for equal that the
    /// writer does not.
    pub(crate) unfit: Option<String>,
    /// Whether NULL equals nothing in it.
    pub(crate) nulls_distinct: bool,
}

impl FromRow<'_, PgRow> for UniqueIndex {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            name: row.try_get("name")?,
            columns: row.try_get("columns")?,
            unused: row.try_get("unused")?,
            unfit: row.try_get("unfit")?,
            nulls_distinct: row.try_get("nulls_distinct")?,
        })
    }
}

impl UniqueIndex {
    /// Whether its columns are these, in any order.
    pub(crate) fn is_on(&self, columns: &[&str]) -> bool {
        self.columns.len() == columns.len() && columns.iter().all(|column| self.has(column))
    }

    fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|own| own == column)
    }
}
