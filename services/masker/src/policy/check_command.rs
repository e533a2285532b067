//! `veilpost-masker check`: reads a policy and shows what it does.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use super::model::{ColumnRule, Policy, UnknownRecord};
use super::personal_data::warnings;

/// Prints the columns and the warnings of the policy in `file`, or of the built-in one. The exit status is 2
/// when the policy is wrong.
pub(crate) fn check(file: Option<&Path>) -> ExitCode {
    let (printed, status) = match Policy::load(file) {
        Ok(policy) => (std::io::stdout().write_all(describe(&policy).as_bytes()), ExitCode::SUCCESS),
        Err(error) => (writeln!(std::io::stderr(), "{error:#}"), ExitCode::from(2)),
    };
    if printed.is_ok() { status } else { ExitCode::FAILURE }
}

fn describe(policy: &Policy) -> String {
    let columns = policy.columns.iter().map(row).collect::<Vec<_>>();
    let width = |cell: fn(&[String; 3]) -> &String| {
        columns.iter().map(|row| cell(row).chars().count()).max().unwrap_or(0)
    };
    let (first, second) = (width(|[name, ..]| name), width(|[_, source, _]| source));
    let unknown = match policy.unknown_record {
        UnknownRecord::Store => "stored as NULLs",
        UnknownRecord::Reject => "rejected",
    };
    let mut text = format!("table {}; a record with none of the fields is {unknown}\n", policy.table);
    for [name, source, transform] in &columns {
        // Writing to a String does not fail.
        writeln!(text, "  {name:first$}  ← {source:second$}  {transform}").ok();
    }
    if let Some(rule) = policy.conflict_rule() {
        writeln!(text, "{rule}").ok();
    }
    for warning in warnings(policy) {
        writeln!(text, "warning: {warning}").ok();
    }
    text
}

/// What is shown of one column: its name, its source, its transform with options.
fn row(column: &ColumnRule) -> [String; 3] {
    let source = column.transform.source().map_or("(message)".to_owned(), ToString::to_string);
    let mut transform = column.transform_name.to_owned();
    for (option, value) in &column.options {
        // Writing to a String does not fail.
        write!(transform, ", {option} {value}").ok();
    }
    [column.name.clone(), source, transform]
}

#[cfg(test)]
mod tests {
    use super::{Policy, describe};

    #[test]
    fn the_mapping_and_the_warnings_are_shown() {
        let policy = "table='t'\n[[column]]\nname='ip'\nsource='/ip'\ntransform='hmac-sha512'\ndomain='ip'\nkey='k1'\n\
                      [[column]]\nname='mail'\nsource='/user/mail'\ntransform='copy'\n\
                      [[column]]\nname='day'\ntransform='sent-date'\n";
        let shown = describe(&Policy::parse(policy, "p.toml").unwrap());
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(
            lines[..4],
            [
                "table t; a record with none of the fields is rejected",
                "  ip    ← /ip         hmac-sha512, domain ip, key k1",
                "  mail  ← /user/mail  copy",
                "  day   ← (message)   sent-date",
            ]
        );
        assert!(lines[4].starts_with("warning: column mail"), "{shown}");
    }

    #[test]
    fn a_rule_for_conflicts_is_shown_in_words() {
        let policy = |rule: &str| {
            let text = format!(
                "table='t'\non_conflict={{key=['id'],{rule}}}\n[[column]]\nname='id'\nsource='/id'\n\
                 transform='copy'\n[[column]]\nname='day'\ntransform='sent-date'\n"
            );
            describe(&Policy::parse(&text, "p.toml").unwrap())
        };
        for (rule, shown) in [
            ("do='ignore'", "\na row whose id is in the table already: ignored\n"),
            (
                "do='update'",
                "already: updates the stored one\nwarning: on_conflict updates without `newer_by`",
            ),
            ("do='update',newer_by='day'", "already: updates the stored one if its day is greater\n"),
        ] {
            assert!(policy(rule).contains(shown), "{}", policy(rule));
        }
    }

    #[test]
    fn options_are_shown_as_they_are_written() {
        let policy = "table='t'\n[[column]]\nname='c'\nsource='/f'\ntransform='partial'\nkeep_last=4\n\
                      normalize=['trim',\n  'digits']\nempty='null'\ndefault=-1.50\n";
        let shown = describe(&Policy::parse(policy, "p.toml").unwrap());
        let options = "partial, normalize ['trim', 'digits'], keep_last 4, empty null, default -1.50";
        assert!(shown.contains(options), "{shown}");
    }
}
