//! Reads a policy's TOML and says exactly where and why it is refused.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use veilpost_runtime::BadSettings;

use crate::body::pointer::Pointer;
use crate::policy::model::{Column, FieldRule, KeyName, MessageRule, Policy, Transform, UnknownRecord};
use crate::transform::hmac_keys::is_key_id;

const TRANSFORMS: &str =
    "copy, sha512, hmac-sha512, major-version, ingest-date, sent-date, sent-timestamp, message-id";

/// Postgres cuts longer identifiers.
const MAX_NAME_BYTES: usize = 63;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    table: Option<Spanned<String>>,
    unknown_record: Option<Spanned<UnknownRecord>>,
    #[serde(default, rename = "column")]
    columns: Vec<Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Option<Spanned<String>>,
    source: Option<Spanned<String>>,
    transform: Option<Spanned<String>>,
    domain: Option<Spanned<String>>,
    key: Option<Spanned<String>>,
}

/// What is wrong, and where in the text.
struct Problem {
    at: usize,
    what: String,
}

/// All that is wrong with the policy is in the error, one problem a line.
pub(crate) fn read(text: &str, name: &str) -> Result<Policy, BadSettings> {
    let file: File = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        // The one sequence in a policy.
        let what = error
            .message()
            .replace("expected a sequence", "expected a list: write [[column]] for each column");
        BadSettings(format!("{}: {what}", place(name, text, at)))
    })?;
    check(file, &|at| place(name, text, at)).map_err(|mut problems| {
        problems.sort_by_key(|problem| problem.at);
        let lines =
            problems.iter().map(|problem| format!("{}: {}", place(name, text, problem.at), problem.what));
        BadSettings(lines.collect::<Vec<_>>().join("\n"))
    })
}

/// `name:line:column`, both counted from 1, the column in characters.
fn place(name: &str, text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|char| *char != '\n').count() + 1;
    format!("{name}:{line}:{column}")
}

fn check(file: File, place: &dyn Fn(usize) -> String) -> Result<Policy, Vec<Problem>> {
    let table = table(file.table).map_err(|problem| vec![problem]);
    let columns = columns(file.columns, place);
    let (table, columns) = match (table, columns) {
        (Ok(table), Ok(columns)) => (table, columns),
        (table, columns) => {
            return Err([table.err(), columns.err()].into_iter().flatten().flatten().collect());
        }
    };
    let unknown_record = unknown_record(file.unknown_record, &columns).map_err(|problem| vec![problem])?;
    Ok(Policy { table, unknown_record, columns })
}

fn columns(
    entries: Vec<Spanned<Entry>>,
    place: &dyn Fn(usize) -> String,
) -> Result<Vec<Column>, Vec<Problem>> {
    if entries.is_empty() {
        return Err(vec![problem(
            &(0..0),
            "the policy has no columns; add a [[column]] with name and transform",
        )]);
    }
    let (mut columns, mut problems, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
    for entry in entries {
        match column(entry, place) {
            Ok((at, column)) if !names.insert(column.name.clone()) => {
                let what = format!("column {:?} is there twice; give each column one entry", column.name);
                problems.push(problem(&at, what));
            }
            Ok((_, column)) => columns.push(column),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(columns) } else { Err(problems) }
}

fn unknown_record(
    given: Option<Spanned<UnknownRecord>>,
    columns: &[Column],
) -> Result<UnknownRecord, Problem> {
    match given {
        Some(given)
            if *given.get_ref() == UnknownRecord::Reject && !columns.iter().any(Column::reads_a_field) =>
        {
            let what =
                "\"reject\" would reject every record, because no column is from a field; write \"store\"";
            Err(problem(&given.span(), what))
        }
        given => Ok(given.map(Spanned::into_inner).unwrap_or_default()),
    }
}

impl Column {
    /// Whether the value is from a field, and not from the whole body or the message around it.
    fn reads_a_field(&self) -> bool {
        self.transform.source().is_some_and(|source| !source.segments().is_empty())
    }
}

fn table(given: Option<Spanned<String>>) -> Result<String, Problem> {
    let Some(table) = given else {
        return Err(problem(
            &(0..0),
            "`table` is missing; name the table that rows go to: table = \"user_logins\"",
        ));
    };
    let at = table.span();
    let parts: Vec<_> = table.get_ref().split('.').collect();
    if parts.len() > 2 || !parts.iter().all(|part| is_identifier(part)) {
        let what = format!("{:?} is no table; write \"table\" or \"schema.table\"", table.get_ref());
        return Err(problem(&at, what));
    }
    Ok(table.into_inner())
}

fn column(entry: Spanned<Entry>, place: &dyn Fn(usize) -> String) -> Result<(Range<usize>, Column), Problem> {
    let at = entry.span();
    let mut entry = entry.into_inner();
    let Some(name) = entry.name.take() else {
        return Err(problem(&at, "this [[column]] has no `name`; write the name of a column of the table"));
    };
    let at = name.span();
    if !is_identifier(name.get_ref()) {
        let what = format!("{:?} is no column name; it has 1 to {MAX_NAME_BYTES} bytes", name.get_ref());
        return Err(problem(&at, what));
    }
    let transform = transform(&entry, &at, place)?;
    Ok((at, Column { name: name.into_inner(), transform }))
}

fn is_identifier(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len()) && !name.contains('\0')
}

fn transform(
    entry: &Entry,
    at: &Range<usize>,
    place: &dyn Fn(usize) -> String,
) -> Result<Transform, Problem> {
    let Some(given) = &entry.transform else {
        return Err(problem(at, format!("this column has no `transform`; the known ones are {TRANSFORMS}")));
    };
    let at = given.span();
    let name = given.get_ref().as_str();
    if name != "hmac-sha512" {
        let extra = [("domain", &entry.domain), ("key", &entry.key)];
        refuse(name, extra, "belongs to transform = \"hmac-sha512\"")?;
    }
    let message = |rule| {
        refuse(name, [("source", &entry.source)], "has no place here: the value is not from the body")?;
        Ok(Transform::Message(rule))
    };
    match name {
        "copy" => field(entry, &at, FieldRule::Copy),
        "sha512" => field(entry, &at, FieldRule::Sha512),
        "major-version" => field(entry, &at, FieldRule::MajorVersion),
        "hmac-sha512" => field(entry, &at, keyed(entry, &at, place)?),
        "ingest-date" => message(MessageRule::IngestDate),
        "sent-date" => message(MessageRule::SentDate),
        "sent-timestamp" => message(MessageRule::SentTimestamp),
        "message-id" => message(MessageRule::MessageId),
        _ => Err(problem(&at, format!("unknown transform {name:?}; the known ones are {TRANSFORMS}"))),
    }
}

/// Refuses keys that are there and make no sense with the transform.
fn refuse<const N: usize>(
    transform: &str,
    keys: [(&str, &Option<Spanned<String>>); N],
    why: &str,
) -> Result<(), Problem> {
    for (key, given) in keys {
        if let Some(given) = given {
            return Err(problem(
                &given.span(),
                format!("`{key}` with transform = {transform:?}: it {why}; remove it"),
            ));
        }
    }
    Ok(())
}

fn field(entry: &Entry, at: &Range<usize>, rule: FieldRule) -> Result<Transform, Problem> {
    let name = rule.name();
    let Some(source) = &entry.source else {
        let what = format!("transform = {name:?} needs a `source`, such as source = \"/device/id\"");
        return Err(problem(at, what));
    };
    let at = source.span();
    let source = Pointer::parse(source.get_ref()).map_err(|what| problem(&at, what))?;
    if source.segments().is_empty() && !matches!(rule, FieldRule::Copy) {
        let what =
            format!("source = \"\" is the whole body, an object, and {name:?} needs a scalar; name a field");
        return Err(problem(&at, what));
    }
    Ok(Transform::Field { source, rule })
}

fn keyed(entry: &Entry, at: &Range<usize>, place: &dyn Fn(usize) -> String) -> Result<FieldRule, Problem> {
    let needs = |what: &str| problem(at, format!("transform = \"hmac-sha512\" needs {what}"));
    let domain = entry.domain.as_ref().ok_or_else(|| {
        needs("a `domain`, a name for the kind of value, such as \"ip\": equal values of one domain get equal digests")
    })?;
    let key = entry.key.as_ref().ok_or_else(|| needs("a `key`, the id of the key to use, such as \"k1\""))?;
    if domain.get_ref().is_empty() || domain.get_ref().contains('\0') {
        return Err(problem(&domain.span(), "a domain is not empty and has no U+0000"));
    }
    if !is_key_id(key.get_ref()) {
        let what = format!("{:?} is no key id; it has 1 to 32 of A-Z a-z 0-9 _ -", key.get_ref());
        return Err(problem(&key.span(), what));
    }
    let key = KeyName { id: key.get_ref().clone(), place: place(key.span().start) };
    Ok(FieldRule::HmacSha512 { domain: domain.get_ref().clone(), key })
}

fn problem(at: &Range<usize>, what: impl Into<String>) -> Problem {
    Problem { at: at.start, what: what.into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::read;
    use crate::policy::model::{Policy, Transform, UnknownRecord};

    fn refusal(text: &str) -> String {
        read(text, "p.toml").unwrap_err().to_string()
    }

    /// A policy of one column, whose keys are `keys`; they begin in line 3.
    fn column(keys: &str) -> String {
        format!("table = \"t\"\n[[column]]\n{keys}\n")
    }

    #[test]
    fn the_default_policy_is_the_table_of_the_design() {
        let policy = Policy::load(None).unwrap();
        assert_eq!(policy.table, "user_logins");
        assert_eq!(policy.unknown_record, UnknownRecord::Store);
        let columns: Vec<_> = policy
            .columns
            .iter()
            .map(|column| {
                let source = column.transform.source().map(ToString::to_string).unwrap_or_default();
                format!("{} {} {source}", column.name, column.transform.name())
            })
            .collect();
        assert_eq!(
            columns,
            [
                "user_id copy /user_id",
                "device_type copy /device_type",
                "masked_ip sha512 /ip",
                "masked_device_id sha512 /device_id",
                "locale copy /locale",
                "app_version major-version /app_version",
                "create_date ingest-date ",
            ]
        );
    }

    #[test]
    fn every_transform_is_read() {
        for name in ["copy", "sha512", "major-version"] {
            let policy =
                read(&column(&format!("name='c'\nsource='/a'\ntransform='{name}'")), "p.toml").unwrap();
            assert_eq!(policy.columns[0].transform.name(), name);
        }
        for name in ["ingest-date", "sent-date", "sent-timestamp", "message-id"] {
            let policy = read(&column(&format!("name='c'\ntransform='{name}'")), "p.toml").unwrap();
            assert_eq!(policy.columns[0].transform.name(), name);
        }
        let keyed = column("name='c'\nsource='/a'\ntransform='hmac-sha512'\ndomain='ip'\nkey='k1'");
        let policy = read(&keyed, "p.toml").unwrap();
        assert!(matches!(&policy.columns[0].transform, Transform::Field { .. }));
        assert_eq!(policy.columns[0].transform.name(), "hmac-sha512");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place_and_a_way_out() {
        let cases: [(&str, &str, &str); 16] = [
            ("name='c'\ntransform='copy'", "p.toml:4:11", "needs a `source`"),
            ("name='c'\nsource='ip'\ntransform='copy'", "p.toml:4:8", "\"/ip\""),
            ("name='c'\nsource='/~'\ntransform='copy'", "p.toml:4:8", "~0"),
            ("name='c'\nsource='/a'\ntransform='md5'", "p.toml:5:11", "hmac-sha512"),
            ("name='c'\nsource='/a'", "p.toml:3:6", "no `transform`"),
            ("transform='copy'\nsource='/a'", "p.toml:2:1", "no `name`"),
            ("name=''\ntransform='message-id'", "p.toml:3:6", "column name"),
            ("name='c'\ntransform='message-id'\nsource='/a'", "p.toml:5:8", "remove it"),
            ("name='c'\nsource='/a'\ntransform='sha512'\nkey='k1'", "p.toml:6:5", "hmac-sha512"),
            ("name='c'\nsource='/a'\ntransform='hmac-sha512'\nkey='k1'", "p.toml:5:11", "`domain`"),
            ("name='c'\nsource='/a'\ntransform='hmac-sha512'\ndomain='d'", "p.toml:5:11", "`key`"),
            ("name='c'\nsource='/a'\ntransform='hmac-sha512'\ndomain=''\nkey='k'", "p.toml:6:8", "not empty"),
            ("name='c'\nsource='/a'\ntransform='hmac-sha512'\ndomain='d'\nkey='k.1'", "p.toml:7:5", "key id"),
            ("name='c'\nsource=''\ntransform='sha512'", "p.toml:4:8", "whole body"),
            ("name='c'\nsuorce='/a'\ntransform='copy'", "p.toml:4:1", "suorce"),
            ("name=5\ntransform='message-id'", "p.toml:3:6", "string"),
        ];
        for (keys, place, advice) in cases {
            let refusal = refusal(&column(keys));
            assert!(refusal.starts_with(&format!("{place}: ")), "{keys}: {refusal}");
            assert!(refusal.contains(advice), "{keys}: {refusal}");
        }
    }

    #[test]
    fn the_table_and_the_columns_must_be_there() {
        let id = "[[column]]\nname='c'\ntransform='message-id'\n";
        assert!(refusal(id).starts_with("p.toml:1:1: `table` is missing"));
        assert!(refusal(&format!("table=''\n{id}")).contains("schema.table"));
        assert!(refusal(&format!("table='a.b.c'\n{id}")).starts_with("p.toml:1:7: "));
        assert!(refusal("table='t'").contains("no columns"));
        assert!(refusal("table='t'\ntable='u'").starts_with("p.toml:2:1: "));
        assert!(refusal("table=").starts_with("p.toml:1:7: "));
        assert!(refusal("table='t'\n[column]\nname='c'").contains("[[column]]"));
        assert!(refusal(&format!("table='t'\nunknown_record='drop'\n{id}")).starts_with("p.toml:2:16: "));
    }

    #[test]
    fn a_column_has_one_entry() {
        let id = "[[column]]\nname='c'\ntransform='message-id'\n";
        assert!(
            refusal(&format!("table='t'\n{id}{id}")).starts_with("p.toml:6:6: column \"c\" is there twice")
        );
    }

    #[test]
    fn a_policy_that_could_only_reject_is_refused() {
        let id = "[[column]]\nname='c'\ntransform='message-id'\n";
        let refusal = refusal(&format!("table='t'\nunknown_record='reject'\n{id}"));
        assert!(refusal.starts_with("p.toml:2:16: "), "{refusal}");
    }

    #[test]
    fn all_problems_are_told_at_once_in_their_order() {
        let text = "table=''\n[[column]]\nname='c'\n[[column]]\nname='d'\ntransform='rot13'\n";
        let refusal = refusal(text);
        let places: Vec<_> = refusal.lines().filter_map(|line| line.split(": ").next()).collect();
        assert_eq!(places, ["p.toml:1:7", "p.toml:3:6", "p.toml:6:11"]);
    }

    proptest! {
        #[test]
        fn every_refusal_of_any_text_has_a_place(text in r"([ -~\n]|table|\[\[column\]\]|name='c'\n|source){0,12}") {
            if let Err(error) = read(&text, "p.toml") {
                prop_assert!(error.to_string().starts_with("p.toml:"));
            }
        }
    }
}
