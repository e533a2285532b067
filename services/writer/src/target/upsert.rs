//! The SQL that stores records of a target with `on_conflict`.

use super::sql::{LOGGED, LedgerParts, Rows};
use super::upsert_rule::{UpsertAction, UpsertRule};
use crate::catalogue::{ColumnKind, TableColumn};

/// The statement that stores rows by a rule, and skips known keys of the ledger. Rows must be bound in the
/// order in which they arrived.
///
/// Keys of the ledger are inserted before any row, because sorting the rows takes all new keys first. Rows
/// are stored in the order of their business keys, so that statements at the same time do not deadlock.
pub(super) fn upserting(
    ledger: &LedgerParts,
    rows: &Rows,
    columns: &[TableColumn],
    rule: &UpsertRule,
) -> String {
    let LedgerParts { definition, keys, .. } = ledger;
    let (given, arrival) = (rows.given(), rows.positions());
    // Only values of new records are cast, and all of theirs are.
    let values = rows.list(|index, _, cast| format!("CAST(given.c{index} AS {cast}) AS c{index}"));
    let sql = RuleSql { rows, columns, rule };
    let (stored, superseded) = match &rule.action {
        UpsertAction::Ignore => sql.ignoring(),
        UpsertAction::Update { newer_by } => sql.updating(*newer_by),
    };
    format!(
        "WITH {definition}, fresh AS ({keys} ON CONFLICT DO NOTHING RETURNING key), \
         given AS (SELECT pg_catalog.unnest($3::pg_catalog.uuid[]) AS key, {given}, {arrival} AS arrival), \
         typed AS MATERIALIZED (SELECT {values}, given.arrival FROM given \
                                JOIN fresh ON fresh.key OPERATOR(pg_catalog.=) given.key), \
         {stored} \
         SELECT fresh.key, definition.is_current, {superseded} AS superseded \
         FROM definition, {LOGGED} LEFT JOIN fresh ON true"
    )
}

struct RuleSql<'a> {
    rows: &'a Rows,
    columns: &'a [TableColumn],
    rule: &'a UpsertRule,
}

impl RuleSql<'_> {
    /// WITH queries that store what conflicts with nothing, and the number of rows that are not stored. Of
    /// rows with one key, the first to arrive is stored.
    fn ignoring(&self) -> (String, String) {
        let (into, key) = (&self.rows.into, self.key_names());
        let (values, order) = (self.values("typed"), self.keys(Self::exact).join(", "));
        let stored = format!(
            "stored AS (INSERT INTO {into} SELECT {values} FROM typed ORDER BY {order}, typed.arrival \
                        ON CONFLICT ({key}) DO NOTHING RETURNING 1)"
        );
        (stored, format!("{} OPERATOR(pg_catalog.-) {}", count("typed"), count("stored")))
    }

    /// The same for updates. A statement may change a row only once, so of rows with one key only the winner
    /// is stored: the newest one, and else the last to arrive.
    ///
    /// The others are inserted after it. They conflict with the winner and change nothing, but the table
    /// judges their values: whether a message is rejected does not depend on what else is in its batch.
    fn updating(&self, newer_by: Option<usize>) -> (String, String) {
        let Rows { into, table, names, .. } = self.rows;
        let (key, values) = (self.key_names(), self.values("ranked"));
        let keys = self.keys(|rule, position| format!("{} AS k{position}", rule.exact(position))).join(", ");
        let order = self.keys(|_, position| format!("ranked.k{position}")).join(", ");
        let (partition, ranking) = (self.partition(), self.ranking(newer_by));
        let filled = names.join(", ");
        let (set, newer) = (self.set(), newer_by.map(|position| self.newer(position)).unwrap_or_default());
        let stored = format!(
            "ranked AS MATERIALIZED (SELECT typed.*, {keys}, pg_catalog.row_number() \
                 OVER (PARTITION BY {partition} ORDER BY {ranking}) AS place FROM typed), \
             stored AS (INSERT INTO {table} AS present ({filled}) SELECT {values} FROM ranked \
                 WHERE ranked.place OPERATOR(pg_catalog.=) 1::pg_catalog.int8 ORDER BY {order} \
                 ON CONFLICT ({key}) DO UPDATE SET {set}{newer} RETURNING 1), \
             judged AS (INSERT INTO {into} SELECT {values} FROM ranked \
                 WHERE ranked.place OPERATOR(pg_catalog.>) 1::pg_catalog.int8 AND {} IS NOT NULL \
                 ORDER BY {order}, ranked.place ON CONFLICT ({key}) DO NOTHING RETURNING 1)",
            count("stored")
        );
        let superseded = format!(
            "{} OPERATOR(pg_catalog.-) {} OPERATOR(pg_catalog.-) {}",
            count("ranked"),
            count("stored"),
            count("judged")
        );
        (stored, superseded)
    }

    /// What rows with the same business key have in common. Rows with NULL in their keys have nothing in
    /// common, unless the index says otherwise.
    fn partition(&self) -> String {
        let mut parts = self.keys(Self::exact);
        if self.rule.nulls_distinct {
            let nulls = self.keys(|_, position| format!("typed.c{position} IS NULL")).join(" OR ");
            parts.push(format!("CASE WHEN {nulls} THEN typed.arrival END"));
        }
        parts.join(", ")
    }

    /// The order of rows with the same key; the first one is stored. As in the table, of two rows that are
    /// equally new the first to arrive wins.
    fn ranking(&self, newer_by: Option<usize>) -> String {
        match newer_by {
            Some(position) => format!("{} DESC NULLS LAST, typed.arrival", self.exact(position)),
            None => "typed.arrival DESC".to_owned(),
        }
    }

    /// The value of a column as the table will hold it, rounded to the column's type; keys that become equal
    /// by that are equal.
    fn exact(&self, position: usize) -> String {
        let value = format!("typed.c{position}");
        let Some(column) = self.columns.get(position) else { return value };
        let value = match (column.kind, column.typmod) {
            (ColumnKind::Money, _) => format!("CAST({value} AS pg_catalog.money)"),
            (_, 0..) => format!("CAST({value} AS {})", column.type_name),
            _ => value,
        };
        match &column.collation {
            Some(collation) => format!("{value} COLLATE {collation}"),
            None => value,
        }
    }

    fn set(&self) -> String {
        let names = self.rows.names.iter().enumerate();
        let replaced = names.filter(|(position, _)| self.rule.replaces(*position));
        replaced.map(|(_, name)| format!("{name} = EXCLUDED.{name}")).collect::<Vec<_>>().join(", ")
    }

    /// A WHERE that holds when the proposed row is newer than the one that is there. `record_gt` compares by
    /// the order of the column's type, which an operator would have to be looked up for.
    fn newer(&self, position: usize) -> String {
        let name = self.rows.names.get(position).map_or("", String::as_str);
        format!(
            " WHERE EXCLUDED.{name} IS NOT NULL AND (present.{name} IS NULL \
             OR pg_catalog.record_gt(ROW(EXCLUDED.{name}), ROW(present.{name})))"
        )
    }

    fn key_names(&self) -> String {
        let name = |rule: &Self, position: usize| rule.rows.names.get(position).cloned().unwrap_or_default();
        self.keys(name).join(", ")
    }

    /// What `item` makes of the position of each column of the key.
    fn keys(&self, item: impl Fn(&Self, usize) -> String) -> Vec<String> {
        self.rule.key.iter().map(|position| item(self, *position)).collect()
    }

    /// The values of all columns in a WITH query.
    fn values(&self, from: &str) -> String {
        self.rows.list(|index, _, _| format!("{from}.c{index}"))
    }
}

/// How many rows a WITH query has.
fn count(query: &str) -> String {
    format!("(SELECT pg_catalog.count(*) FROM {query})")
}

#[cfg(test)]
mod tests {
    use veilpost_proto::v1::ConflictAction::{Ignore, Update};
    use veilpost_proto::v1::{self, OnConflict};

    use super::super::sql::tests::assert_functions_are_qualified;
    use super::super::{InsertMode, ResolvedTarget};
    use crate::catalogue::fixtures::{column, table, unique_index};
    use crate::catalogue::{ColumnKind, Table, TableColumn};

    fn sql(columns: Vec<TableColumn>, on_conflict: OnConflict) -> String {
        let names = columns.iter().map(|column| column.name.clone()).collect();
        let key: Vec<&str> = on_conflict.key.iter().map(String::as_str).collect();
        let unique_indexes = vec![unique_index(&key)];
        let table = Table { unique_indexes, ..(*table(columns)).clone() };
        let wanted = v1::Target { table: "logins".into(), columns: names, on_conflict: Some(on_conflict) };
        let target = ResolvedTarget::resolve(&table.into(), &wanted).unwrap();
        assert_eq!(target.statements.first_mode(), InsertMode::Skipping);
        target.statements.sql(InsertMode::Skipping).to_string()
    }

    fn rule(action: v1::ConflictAction, newer_by: &str) -> OnConflict {
        OnConflict { key: vec!["id".into()], action: action.into(), newer_by: newer_by.into() }
    }

    #[test]
    fn no_function_is_looked_up_on_the_search_path() {
        for rule in [rule(Ignore, ""), rule(Update, ""), rule(Update, "at")] {
            assert_functions_are_qualified(&sql(["id", "at"].map(column).to_vec(), rule));
        }
    }

    #[test]
    fn only_columns_outside_of_the_key_are_replaced() {
        let update = sql(["id", "at", "what"].map(column).to_vec(), rule(Update, ""));
        let expected =
            r#"ON CONFLICT ("id") DO UPDATE SET "at" = EXCLUDED."at", "what" = EXCLUDED."what" RETURNING 1)"#;
        assert!(update.contains(expected), "{update}");
        let ignore = sql(["id", "at"].map(column).to_vec(), rule(Ignore, ""));
        assert!(!ignore.contains("UPDATE"), "{ignore}");
    }

    #[test]
    fn keys_are_compared_as_the_table_holds_them() {
        let rounded = TableColumn {
            type_name: "numeric(5,2)".into(),
            typmod: 327_686,
            collation: None,
            ..column("id")
        };
        let money = TableColumn { kind: ColumnKind::Money, collation: None, ..column("id") };
        let text = column("id");
        for (key, expected) in [
            (rounded, "PARTITION BY CAST(typed.c0 AS numeric(5,2)), CASE"),
            (money, "PARTITION BY CAST(typed.c0 AS pg_catalog.money), CASE"),
            (text, "PARTITION BY typed.c0 COLLATE pg_catalog.\"default\", CASE"),
        ] {
            let update = sql(vec![key, column("at")], rule(Update, "at"));
            assert!(update.contains(expected), "{update}");
        }
    }
}
