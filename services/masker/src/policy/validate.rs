//! Validates a policy that has been read: its table, its columns, its rule for unknown records.

use std::collections::BTreeSet;

use sha2::{Digest, Sha512};
use toml::Spanned;

use super::column::is_identifier;
use super::entry::{ColumnEntry, PolicyFile};
use super::model::{ColumnRule, Policy, UnknownRecord};
use super::on_conflict::{ConflictRule, OnConflictEntry};
use super::problem::{PolicyProblem, PolicyText};
use crate::body::BodyRule;

/// Gives the policy, or everything that is wrong with it.
pub(super) fn validate(file: PolicyFile, text: PolicyText<'_>) -> Result<Policy, Vec<PolicyProblem>> {
    let table = table(file.table).map_err(|problem| vec![problem]);
    let body = file.body.unwrap_or_default().check();
    let has_envelope = body.as_ref().map_or(true, BodyRule::has_envelope);
    let on_conflict = on_conflict(file.on_conflict.as_ref(), &file.columns);
    let columns = columns(file.columns, has_envelope, text);
    let (table, body, on_conflict, columns) = match (table, body, on_conflict, columns) {
        (Ok(table), Ok(body), Ok(on_conflict), Ok(columns)) => (table, body, on_conflict, columns),
        (table, body, on_conflict, columns) => {
            let problems = [table.err(), body.err(), on_conflict.err(), columns.err()];
            return Err(problems.into_iter().flatten().flatten().collect());
        }
    };
    let unknown_record = unknown_record(file.unknown_record, &columns).map_err(|problem| vec![problem])?;
    Ok(Policy { digest: digest(text), table, unknown_record, body, on_conflict, columns })
}

/// The first six bytes of the text's SHA-512, in hexadecimal digits.
fn digest(text: PolicyText<'_>) -> String {
    const_hex::encode(Sha512::digest(text.text).get(..6).unwrap_or_default())
}

fn table(given: Option<Spanned<String>>) -> Result<String, PolicyProblem> {
    let Some(table) = given else {
        let what = "`table` is missing; name the table that rows go to: table = \"user_logins\"";
        return Err(PolicyProblem::new(&(0..0), what));
    };
    let parts: Vec<_> = table.get_ref().split('.').collect();
    if parts.len() > 2 || !parts.iter().all(|part| is_identifier(part)) {
        let what = format!("{:?} is not a table; write \"table\" or \"schema.table\"", table.get_ref());
        return Err(PolicyProblem::new(&table.span(), what));
    }
    Ok(table.into_inner())
}

/// Names count also where something else is wrong with their columns.
fn on_conflict(
    given: Option<&Spanned<OnConflictEntry>>,
    columns: &[Spanned<ColumnEntry>],
) -> Result<Option<ConflictRule>, Vec<PolicyProblem>> {
    let Some(given) = given else { return Ok(None) };
    let names: Vec<&str> = columns.iter().filter_map(|column| column.get_ref().name()).collect();
    OnConflictEntry::check(given, &names).map(Some)
}

fn columns(
    entries: Vec<Spanned<ColumnEntry>>,
    has_envelope: bool,
    text: PolicyText<'_>,
) -> Result<Vec<ColumnRule>, Vec<PolicyProblem>> {
    if entries.is_empty() {
        let what = "the policy has no columns; add a [[column]] with name and transform";
        return Err(vec![PolicyProblem::new(&(0..0), what)]);
    }
    let (mut columns, mut problems, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
    for entry in entries {
        match ColumnEntry::check(&entry, text) {
            Ok((at, column)) if !names.insert(column.name.clone()) => {
                let what = format!("column {:?} is there twice; give each column one entry", column.name);
                problems.push(PolicyProblem::new(&at, what));
            }
            Ok((at, column)) if column.reads_the_envelope() && !has_envelope => {
                let what = "`envelope` without `unwrap` or `records` in [body]: nothing is around the record";
                problems.push(PolicyProblem::new(&at, what));
            }
            Ok((_, column)) => columns.push(column),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(columns) } else { Err(problems) }
}

fn unknown_record(
    given: Option<Spanned<UnknownRecord>>,
    columns: &[ColumnRule],
) -> Result<UnknownRecord, PolicyProblem> {
    let has_fields = columns.iter().any(ColumnRule::reads_a_field);
    let Some(given) = given else {
        // Without any field, every record would be unknown.
        return Ok(if has_fields { UnknownRecord::Reject } else { UnknownRecord::Store });
    };
    if *given.get_ref() == UnknownRecord::Reject && !has_fields {
        let what = "\"reject\" would reject every record, because no column is from a field; write \"store\"";
        return Err(PolicyProblem::new(&given.span(), what));
    }
    Ok(given.into_inner())
}
