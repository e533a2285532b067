//! Reads a policy's TOML and says exactly where and why it is refused.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;
use toml::Spanned;
use veilpost_runtime::BadSettings;

use super::column::{ColumnEntry, is_identifier};
use super::model::{ColumnRule, Policy, UnknownRecord};
use super::problem::{PolicyProblem, PolicyText};

/// The policy that Veilpost comes with.
const BUILT_IN: &str = include_str!("../../../../deploy/policies/user_logins.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    table: Option<Spanned<String>>,
    unknown_record: Option<Spanned<UnknownRecord>>,
    #[serde(default, rename = "column")]
    columns: Vec<Spanned<ColumnEntry>>,
}

impl Policy {
    /// Reads the policy in `file`, or the built-in one for the table `user_logins`.
    ///
    /// # Errors
    /// When the file cannot be read, and for whatever [`Policy::parse`] refuses.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let Some(file) = file else { return Ok(Self::parse(BUILT_IN, "user_logins.toml (built in)")?) };
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file)
            .with_context(|| BadSettings(format!("cannot read --policy {name}")))?;
        Ok(Self::parse(&text, &name)?)
    }

    /// Reads a policy from its TOML text.
    ///
    /// # Errors
    /// When the text is not TOML or not a policy. The error has one line for each problem, which begins with
    /// `name:line:column`; `name` stands for the file.
    pub fn parse(text: &str, name: &str) -> Result<Self, BadSettings> {
        let text = PolicyText { name, text };
        let checked = parse(text.text).and_then(|file| check(file, text));
        checked.map_err(|problems| text.refuse(problems))
    }
}

fn parse(text: &str) -> Result<PolicyFile, Vec<PolicyProblem>> {
    toml::from_str(text).map_err(|error| {
        // There is only one list in a policy.
        let what = error
            .message()
            .replace("expected a sequence", "expected a list: write [[column]] for each column");
        vec![PolicyProblem::new(&error.span().unwrap_or_default(), what)]
    })
}

fn check(file: PolicyFile, text: PolicyText<'_>) -> Result<Policy, Vec<PolicyProblem>> {
    let table = table(file.table).map_err(|problem| vec![problem]);
    let columns = columns(file.columns, text);
    let (table, columns) = match (table, columns) {
        (Ok(table), Ok(columns)) => (table, columns),
        (table, columns) => {
            return Err([table.err(), columns.err()].into_iter().flatten().flatten().collect());
        }
    };
    let unknown_record = unknown_record(file.unknown_record, &columns).map_err(|problem| vec![problem])?;
    Ok(Policy { table, unknown_record, columns })
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

fn columns(
    entries: Vec<Spanned<ColumnEntry>>,
    text: PolicyText<'_>,
) -> Result<Vec<ColumnRule>, Vec<PolicyProblem>> {
    if entries.is_empty() {
        let what = "the policy has no columns; add a [[column]] with name and transform";
        return Err(vec![PolicyProblem::new(&(0..0), what)]);
    }
    let (mut columns, mut problems, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
    for entry in entries {
        match ColumnEntry::check(entry, text) {
            Ok((at, column)) if !names.insert(column.name.clone()) => {
                let what = format!("column {:?} is there twice; give each column one entry", column.name);
                problems.push(PolicyProblem::new(&at, what));
            }
            Ok((_, column)) => columns.push(column),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(columns) } else { Err(problems) }
}

fn unknown_record(
    given: Option<Spanned<UnknownRecord>>,
    columns: &[ColumnRule],
) -> Result<UnknownRecord, PolicyProblem> {
    let Some(given) = given else { return Ok(UnknownRecord::default()) };
    if *given.get_ref() == UnknownRecord::Reject && !columns.iter().any(ColumnRule::reads_a_field) {
        let what = "\"reject\" would reject every record, because no column is from a field; write \"store\"";
        return Err(PolicyProblem::new(&given.span(), what));
    }
    Ok(given.into_inner())
}
