//! A target's `on_conflict`, resolved against the catalogue: which unique index serves, and what the role
//! needs for it.

use veilpost_proto::v1;

use super::Mismatch;
use crate::catalogue::{Privilege, Table, TableColumn, UniqueIndex};

/// The most columns of an index in Postgres.
const MOST_KEY_COLUMNS: usize = 32;

/// How many of the table's unique indexes a refusal names.
const MOST_NAMED: usize = 8;

/// What happens to a row whose business key another row has already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UpsertRule {
    /// The key's columns, as positions among those of the target.
    pub(super) key: Vec<usize>,
    pub(super) action: UpsertAction,
    /// Whether rows with NULL in their keys are all different ones.
    pub(super) nulls_distinct: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UpsertAction {
    /// The row that is there stays.
    Ignore,
    /// The columns outside of the key are replaced: if the new row is greater in the column at this position,
    /// or in any case.
    Update { newer_by: Option<usize> },
}

impl UpsertRule {
    /// Resolves what a sender wants for these columns of the table.
    pub(super) fn resolve(
        table: &Table,
        columns: &[TableColumn],
        wanted: &v1::OnConflict,
    ) -> Result<Self, Mismatch> {
        let key = key(columns, &wanted.key)?;
        let action = action(columns, &key, wanted)?;
        let names: Vec<&str> = wanted.key.iter().map(String::as_str).collect();
        let nulls_distinct = nulls_are_distinct(table, &names)?;
        let rule = Self { key, action, nulls_distinct };
        match rule.missing_rights(table, columns) {
            Some(missing) => Err(Mismatch::Rights(missing)),
            None => Ok(rule),
        }
    }

    /// Whether the column at this position is replaced.
    pub(super) fn replaces(&self, position: usize) -> bool {
        matches!(self.action, UpsertAction::Update { .. }) && !self.key.contains(&position)
    }

    /// What the role must be allowed to do, apart from INSERT. Postgres asks for SELECT on every column whose
    /// proposed value is read.
    pub(super) fn needs(&self, privilege: Privilege, position: usize) -> bool {
        match privilege {
            Privilege::Select => self.key.contains(&position) || self.replaces(position),
            Privilege::Update => self.replaces(position),
        }
    }

    /// The privileges that the role lacks, and how they are granted.
    fn missing_rights(&self, table: &Table, columns: &[TableColumn]) -> Option<String> {
        let lacking = [Privilege::Select, Privilege::Update].into_iter().filter_map(|privilege| {
            let lacks = |(position, column): &(usize, &TableColumn)| {
                self.needs(privilege, *position) && !column.rights.has(privilege)
            };
            let names: Vec<_> =
                columns.iter().enumerate().filter(lacks).map(|(_, column)| &*column.sql_name).collect();
            (!names.is_empty()).then(|| format!("{} ({})", privilege.name(), names.join(", ")))
        });
        let lacking = lacking.collect::<Vec<_>>().join(", ");
        let Table { sql_name, role, .. } = table;
        (!lacking.is_empty()).then(|| {
            format!(
                "on_conflict: role {role} lacks: {lacking} ON TABLE {sql_name}. The owner grants it with `GRANT \
                 {lacking} ON TABLE {sql_name} TO {role}`"
            )
        })
    }
}

fn key(columns: &[TableColumn], wanted: &[String]) -> Result<Vec<usize>, Mismatch> {
    if !(1..=MOST_KEY_COLUMNS).contains(&wanted.len()) {
        return Err(Mismatch::Rule(format!("its key has {} columns", wanted.len())));
    }
    let mut key = Vec::with_capacity(wanted.len());
    for name in wanted {
        let position = position(columns, name)?;
        if key.contains(&position) {
            return Err(Mismatch::Rule(format!("column {name} is twice in its key")));
        }
        key.push(position);
    }
    Ok(key)
}

fn position(columns: &[TableColumn], name: &str) -> Result<usize, Mismatch> {
    let position = columns.iter().position(|column| column.name == *name);
    position.ok_or_else(|| Mismatch::Rule(format!("column {name} is not among the target's columns")))
}

fn action(columns: &[TableColumn], key: &[usize], wanted: &v1::OnConflict) -> Result<UpsertAction, Mismatch> {
    let newer_by = Some(&wanted.newer_by).filter(|name| !name.is_empty());
    match (wanted.action(), newer_by) {
        (v1::ConflictAction::Unspecified, _) => Err(Mismatch::Rule("its action is not known".to_owned())),
        (v1::ConflictAction::Ignore, Some(_)) => {
            Err(Mismatch::Rule("newer_by is for updates only".to_owned()))
        }
        (v1::ConflictAction::Ignore, None) => Ok(UpsertAction::Ignore),
        (v1::ConflictAction::Update, _) if columns.len() == key.len() => {
            Err(Mismatch::Rule("no column is outside of its key, so nothing can be updated".to_owned()))
        }
        (v1::ConflictAction::Update, newer_by) => {
            let newer_by = newer_by.map(|name| newer_by_position(columns, key, name)).transpose()?;
            Ok(UpsertAction::Update { newer_by })
        }
    }
}

fn newer_by_position(columns: &[TableColumn], key: &[usize], name: &str) -> Result<usize, Mismatch> {
    let position = position(columns, name)?;
    if key.contains(&position) {
        return Err(Mismatch::Rule(format!("newer_by is {name}, a column of its key")));
    }
    match columns.get(position) {
        Some(column) if !column.is_ordered => {
            let why = format!("cannot be newer_by: type {} has no order", column.type_name);
            Err(Mismatch::Unusable(name.to_owned(), why))
        }
        _ => Ok(position),
    }
}

/// Whether NULL equals nothing in the index that serves; Err when none does. Postgres uses every index that
/// it finds on these columns, so none of them may be unfit.
fn nulls_are_distinct(table: &Table, key: &[&str]) -> Result<bool, Mismatch> {
    let found: Vec<_> =
        table.unique_indexes.iter().filter(|index| index.unused.is_none() && index.is_on(key)).collect();
    if let Some((index, why)) = found.iter().find_map(|index| Some((index, index.unfit.as_ref()?))) {
        return Err(Mismatch::Index(format!("unique index {} {why}, so it cannot serve", index.name)));
    }
    if found.is_empty() {
        return Err(Mismatch::Index(no_index(table, key)));
    }
    Ok(found.iter().all(|index| index.nulls_distinct))
}

/// Says which unique indexes are there, and which one is needed.
fn no_index(table: &Table, key: &[&str]) -> String {
    let Table { sql_name, unique_indexes, .. } = table;
    let sql_names = key.iter().map(|name| {
        let column = table.columns.iter().find(|column| column.name == *name);
        column.map_or(*name, |column| &column.sql_name)
    });
    let columns = sql_names.collect::<Vec<_>>().join(", ");
    let there: Vec<_> = unique_indexes.iter().take(MOST_NAMED).map(described).collect();
    let there = match (there.is_empty(), unique_indexes.len().saturating_sub(MOST_NAMED)) {
        (true, _) => "no unique index".to_owned(),
        (false, 0) => there.join("; "),
        (false, more) => format!("{}; and {more} more", there.join("; ")),
    };
    format!(
        "no unique index of table {sql_name} is on exactly ({columns}). There is: {there}. `CREATE UNIQUE INDEX ON \
         {sql_name} ({columns})` makes one"
    )
}

fn described(index: &UniqueIndex) -> String {
    let why = index.unused.as_ref().map(|why| format!(", which {why}")).unwrap_or_default();
    format!("{} on ({}){why}", index.name, index.columns.join(", "))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::ResolvedTarget;
    use super::*;
    use crate::catalogue::ColumnRights;
    use crate::catalogue::fixtures::{column, table, unique_index};
    use v1::ConflictAction::{Ignore, Unspecified, Update};

    /// Table `logins` with columns a, b and c and these unique indexes.
    fn with_indexes(unique_indexes: Vec<UniqueIndex>) -> Table {
        Table { unique_indexes, ..(*table(["a", "b", "c"].map(column).to_vec())).clone() }
    }

    fn rule(key: &[&str], action: v1::ConflictAction, newer_by: &str) -> v1::OnConflict {
        let key = key.iter().map(ToString::to_string).collect();
        v1::OnConflict { key, action: action.into(), newer_by: newer_by.to_owned() }
    }

    fn resolve(table: Table, on_conflict: v1::OnConflict) -> Result<(), Mismatch> {
        let columns = ["a", "b", "c"].map(str::to_owned).to_vec();
        let on_conflict = Some(on_conflict);
        let wanted = v1::Target { table: "logins".into(), columns, on_conflict };
        ResolvedTarget::resolve(&Arc::new(table), &wanted).map(|_| ())
    }

    #[test]
    fn an_index_on_exactly_the_key_serves_in_any_order_of_columns() {
        let table = || with_indexes(vec![unique_index(&["b", "a"])]);
        assert_eq!(resolve(table(), rule(&["a", "b"], Ignore, "")), Ok(()));
        for key in [&["a"][..], &["b"], &["a", "b", "c"], &["a", "c"]] {
            let refused = resolve(table(), rule(key, Ignore, "")).unwrap_err();
            assert!(matches!(refused, Mismatch::Index(_)), "{refused}");
        }
    }

    #[test]
    fn a_refusal_says_what_is_there_and_what_would_serve() {
        let partial = UniqueIndex { unused: Some("is partial".into()), ..unique_index(&["a"]) };
        let refused = resolve(with_indexes(vec![partial, unique_index(&["b"])]), rule(&["a"], Ignore, ""));
        assert_eq!(
            refused.unwrap_err().to_string(),
            "on_conflict: no unique index of table public.logins is on exactly (a). There is: only_once on (a), \
             which is partial; only_once on (b). `CREATE UNIQUE INDEX ON public.logins (a)` makes one"
        );
        let none = resolve(with_indexes(Vec::new()), rule(&["a"], Ignore, "")).unwrap_err();
        assert!(none.to_string().contains("There is: no unique index."), "{none}");
    }

    #[test]
    fn one_unfit_index_on_the_key_spoils_the_others() {
        let deferrable = UniqueIndex { unfit: Some("is DEFERRABLE".into()), ..unique_index(&["a"]) };
        let both = vec![unique_index(&["a"]), deferrable];
        let refused = resolve(with_indexes(both), rule(&["a"], Ignore, "")).unwrap_err();
        assert!(refused.to_string().contains("is DEFERRABLE"), "{refused}");
    }

    #[test]
    fn a_rule_that_no_masker_makes_is_an_error_of_the_sender() {
        for wrong in [
            rule(&[], Ignore, ""),
            rule(&["a", "a"], Ignore, ""),
            rule(&["d"], Ignore, ""),
            rule(&["a"], Unspecified, ""),
            v1::OnConflict { action: 7, ..rule(&["a"], Ignore, "") },
            rule(&["a"], Ignore, "b"),
            rule(&["a"], Update, "a"),
            rule(&["a"], Update, "d"),
            rule(&["a", "b", "c"], Update, ""),
        ] {
            let refused = resolve(with_indexes(vec![unique_index(&["a"])]), wrong).unwrap_err();
            assert!(matches!(refused, Mismatch::Rule(_)), "{refused}");
        }
    }

    #[test]
    fn what_has_no_order_is_never_newer() {
        let mut table = with_indexes(vec![unique_index(&["a"])]);
        table.columns[1].is_ordered = false;
        let refused = resolve(table, rule(&["a"], Update, "b")).unwrap_err();
        assert!(matches!(refused, Mismatch::Unusable(..)), "{refused}");
    }

    #[test]
    fn the_role_needs_what_the_rule_needs_and_no_more() {
        let without_rights = || {
            let mut table = with_indexes(vec![unique_index(&["a"])]);
            for column in &mut table.columns {
                column.rights = ColumnRights { select: false, update: false };
            }
            table
        };
        let grant = |action, newer_by| {
            let refused = resolve(without_rights(), rule(&["a"], action, newer_by)).unwrap_err().to_string();
            refused.split('`').nth(1).unwrap().to_owned()
        };
        assert_eq!(grant(Ignore, ""), "GRANT SELECT (a) ON TABLE public.logins TO writer");
        let update = "GRANT SELECT (a, b, c), UPDATE (b, c) ON TABLE public.logins TO writer";
        assert_eq!((grant(Update, ""), grant(Update, "b")), (update.to_owned(), update.to_owned()));
        let mut granted = without_rights();
        granted.columns[0].rights.select = true;
        assert_eq!(resolve(granted, rule(&["a"], Ignore, "")), Ok(()));
    }
}
