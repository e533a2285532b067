//! `on_conflict` of a policy: what happens to a row whose business key is in the table already.

use std::fmt;

use serde::Deserialize;
use toml::Spanned;
use veilpost_proto::v1;

use super::entry::Item;
use super::nearest::{suggestion, unknown};
use super::problem::PolicyProblem;

/// The most columns of a unique index, by Postgres's own limit.
const MOST_COLUMNS: usize = 32;

/// All keys of `on_conflict`.
#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table such as { key = [\"order_id\"], do = \"update\", newer_by = \"updated_at\" }"
)]
pub(super) struct OnConflictEntry {
    key: Option<Spanned<Item>>,
    #[serde(rename = "do")]
    action: Option<Spanned<Item>>,
    newer_by: Option<Spanned<Item>>,
}

/// What happens to a row whose business key another row has already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConflictRule {
    /// Columns of the policy: at least one, each once.
    key: Vec<String>,
    action: ConflictAction,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ConflictAction {
    /// The row that is there stays.
    Ignore,
    /// The columns outside of the key are replaced, if the new row is newer by a column of the policy.
    Update { newer_by: Option<String> },
}

impl ConflictRule {
    /// As the writer gets it.
    pub(super) fn to_contract(&self) -> v1::OnConflict {
        let (action, newer_by) = match &self.action {
            ConflictAction::Ignore => (v1::ConflictAction::Ignore, None),
            ConflictAction::Update { newer_by } => (v1::ConflictAction::Update, newer_by.clone()),
        };
        let newer_by = newer_by.unwrap_or_default();
        v1::OnConflict { key: self.key.clone(), action: action.into(), newer_by }
    }

    /// What an operator should know about a rule that works.
    pub(super) fn warning(&self) -> Option<String> {
        let unordered = self.action == ConflictAction::Update { newer_by: None };
        unordered.then(|| {
            "on_conflict updates without `newer_by`: a queue keeps no order, so an older event may replace a newer \
             one; name a column that grows with each change, such as a time"
                .to_owned()
        })
    }
}

/// The rule in words.
impl fmt::Display for ConflictRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a row whose {} is in the table already: ", self.key.join(", "))?;
        match &self.action {
            ConflictAction::Ignore => write!(formatter, "ignored"),
            ConflictAction::Update { newer_by: None } => write!(formatter, "updates the stored one"),
            ConflictAction::Update { newer_by: Some(column) } => {
                write!(formatter, "updates the stored one if its {column} is greater")
            }
        }
    }
}

impl OnConflictEntry {
    /// Checks all keys; gives the rule, or everything that is wrong with it. `columns` are the names that the
    /// policy's columns have.
    pub(super) fn check(entry: &Spanned<Self>, columns: &[&str]) -> Result<ConflictRule, Vec<PolicyProblem>> {
        let mut given = Given { entry, columns, problems: Vec::new() };
        let key = given.key();
        let action = given.action(key.as_deref().unwrap_or_default());
        match (key, action) {
            (Some(key), Some(action)) if given.problems.is_empty() => Ok(ConflictRule { key, action }),
            _ => Err(given.problems),
        }
    }
}

/// The rule as it is written, and what is wrong with it so far.
struct Given<'a> {
    entry: &'a Spanned<OnConflictEntry>,
    columns: &'a [&'a str],
    problems: Vec<PolicyProblem>,
}

impl Given<'_> {
    /// None where there is no key or nothing in it can be one.
    fn key(&mut self) -> Option<Vec<String>> {
        let Some(given) = &self.entry.get_ref().key else {
            let what = "`on_conflict` has no `key`; name the columns of a unique index: key = [\"order_id\"]";
            self.problems.push(PolicyProblem::new(&self.entry.span(), what));
            return None;
        };
        let Item::List(items) = given.get_ref() else {
            let what = "`key` is a list of columns: key = [\"order_id\"]";
            self.problems.push(PolicyProblem::new(&given.span(), what));
            return None;
        };
        if !(1..=MOST_COLUMNS).contains(&items.len()) {
            let what = format!(
                "`key` has {} columns; name those of a unique index, 1 to {MOST_COLUMNS}",
                items.len()
            );
            self.problems.push(PolicyProblem::new(&given.span(), what));
            return None;
        }
        let mut key: Vec<String> = Vec::with_capacity(items.len());
        for item in items {
            let Some(column) = self.column("key", item) else { continue };
            if key.contains(&column) {
                let what = format!("{column:?} is there twice; remove one");
                self.problems.push(PolicyProblem::new(&item.span(), what));
            } else {
                key.push(column);
            }
        }
        Some(key)
    }

    fn action(&mut self, key: &[String]) -> Option<ConflictAction> {
        let Some(given) = &self.entry.get_ref().action else {
            let what = "`on_conflict` has no `do`; write do = \"ignore\" to keep the row that is there, or \
                        do = \"update\" to replace it";
            self.problems.push(PolicyProblem::new(&self.entry.span(), what));
            return None;
        };
        let newer_by = self.entry.get_ref().newer_by.as_ref();
        match given.get_ref() {
            Item::Text(text) if text == "ignore" => {
                if let Some(newer_by) = newer_by {
                    let what = "`newer_by` with do = \"ignore\": the row that is there stays; remove it, or write \
                                do = \"update\"";
                    self.problems.push(PolicyProblem::new(&newer_by.span(), what));
                }
                Some(ConflictAction::Ignore)
            }
            Item::Text(text) if text == "update" => {
                if self.columns.iter().all(|column| key.iter().any(|of_key| of_key == column)) {
                    let what = "every column of the policy is in the key, so that an update would change nothing; \
                                write do = \"ignore\"";
                    self.problems.push(PolicyProblem::new(&given.span(), what));
                }
                let newer_by = newer_by.and_then(|newer_by| self.newer_by(newer_by, key));
                Some(ConflictAction::Update { newer_by })
            }
            Item::Text(text) => {
                let what = unknown("`do`", text, &["ignore", "update"]);
                self.problems.push(PolicyProblem::new(&given.span(), what));
                None
            }
            other => {
                let what = format!("`do` is \"ignore\" or \"update\", not {}", other.kind());
                self.problems.push(PolicyProblem::new(&given.span(), what));
                None
            }
        }
    }

    fn newer_by(&mut self, given: &Spanned<Item>, key: &[String]) -> Option<String> {
        let column = self.column("newer_by", given)?;
        if key.contains(&column) {
            let what =
                format!("`newer_by` is {column:?}, a column of the key, which never differs; name another");
            self.problems.push(PolicyProblem::new(&given.span(), what));
        }
        Some(column)
    }

    /// A column of the policy, by its name.
    fn column(&mut self, within: &str, item: &Spanned<Item>) -> Option<String> {
        let what = match item.get_ref() {
            Item::Text(name) if self.columns.contains(&name.as_str()) => return Some(name.clone()),
            Item::Text(name) => format!(
                "{name:?} is no column of this policy{}; its columns are {}",
                suggestion(name, self.columns.iter().copied()),
                self.columns.join(", ")
            ),
            other => format!("`{within}` names columns, as texts, not {}", other.kind()),
        };
        self.problems.push(PolicyProblem::new(&item.span(), what));
        None
    }
}

#[cfg(test)]
mod tests {
    use veilpost_runtime::Feature;

    use super::super::Policy;
    use super::*;

    const COLUMNS: &str = "[[column]]\nname = 'id'\nsource = '/id'\ntransform = 'copy'\n\
                           [[column]]\nname = 'at'\nsource = '/at'\ntransform = 'copy'\n";

    fn policy(rule: &str) -> Result<Policy, String> {
        let text = format!("table = 't'\non_conflict = {rule}\n{COLUMNS}");
        Policy::parse(&text, "p").map_err(|error| error.to_string())
    }

    fn on_conflict(rule: &str) -> v1::OnConflict {
        policy(rule).unwrap().target().on_conflict.unwrap()
    }

    #[test]
    fn a_rule_becomes_a_part_of_the_target() {
        let ignore = on_conflict("{ key = ['at', 'id'], do = 'ignore' }");
        assert_eq!(
            (ignore.key.as_slice(), ignore.newer_by.as_str()),
            (&["at".to_owned(), "id".into()][..], "")
        );
        assert_eq!(ignore.action(), v1::ConflictAction::Ignore);
        let update = on_conflict("{ key = ['id'], do = 'update' }");
        assert_eq!((update.action(), update.newer_by.as_str()), (v1::ConflictAction::Update, ""));
        assert_eq!(on_conflict("{ key = ['id'], do = 'update', newer_by = 'at' }").newer_by, "at");
        let as_table = format!("table = 't'\n{COLUMNS}[on_conflict]\nkey = ['id']\ndo = 'ignore'\n");
        assert_eq!(Policy::parse(&as_table, "p").unwrap().target().on_conflict.unwrap().key, ["id"]);
    }

    #[test]
    fn only_a_policy_with_a_rule_needs_a_writer_that_knows_rules() {
        assert_eq!(policy("{ key = ['id'], do = 'ignore' }").unwrap().needs(), [Feature::Upserts]);
        let without = Policy::parse(&format!("table = 't'\n{COLUMNS}"), "p").unwrap();
        assert_eq!((without.needs(), without.target().on_conflict), (Vec::new(), None));
    }

    #[test]
    fn a_key_may_be_the_message_id() {
        let text = "table = 't'\non_conflict = { key = ['m'], do = 'ignore' }\n\
                    [[column]]\nname = 'm'\ntransform = 'message-id'\n";
        assert!(Policy::parse(text, "p").is_ok());
    }

    #[test]
    fn every_mistake_has_its_place_and_a_way_out() {
        for (rule, place, advice) in [
            ("'ignore'", "2:15", "a table such as { key"),
            ("{}", "2:15", "has no `key`"),
            ("{ key = ['id'] }", "2:15", "has no `do`"),
            ("{ key = 'id', do = 'ignore' }", "2:23", "a list of columns"),
            ("{ key = [], do = 'ignore' }", "2:23", "1 to 32"),
            ("{ key = ['id', 7], do = 'ignore' }", "2:30", "not an integer"),
            ("{ key = ['id', 'id'], do = 'ignore' }", "2:30", "twice"),
            ("{ key = ['ID'], do = 'ignore' }", "2:24", "did you mean \"id\"?"),
            ("{ key = ['id'], do = 'replace' }", "2:36", "ignore, update"),
            ("{ key = ['id'], do = 'updat' }", "2:36", "did you mean \"update\"?"),
            ("{ key = ['id'], do = true }", "2:36", "not a boolean"),
            ("{ key = ['id'], do = 'ignore', newer_by = 'at' }", "2:57", "do = \"update\""),
            ("{ key = ['id'], do = 'update', newer_by = 'att' }", "2:57", "did you mean \"at\"?"),
            ("{ key = ['id'], do = 'update', newer_by = ['at'] }", "2:57", "not a list"),
            ("{ key = ['id'], do = 'update', newer_by = 'id' }", "2:57", "column of the key"),
            ("{ key = ['id', 'at'], do = 'update' }", "2:42", "change nothing"),
            ("{ key = ['id'], do = 'ignore', newerby = 'at' }", "2:46", "newerby"),
        ] {
            let refusal = policy(rule).unwrap_err();
            assert!(refusal.starts_with(&format!("p:{place}: ")), "{rule}: {refusal}");
            assert!(refusal.contains(advice), "{rule}: {refusal}");
        }
    }

    #[test]
    fn all_mistakes_of_a_rule_are_told_with_those_of_the_columns() {
        let text = "table = ''\non_conflict = { key = ['a', 'a', 'x'], do = 'updat' }\n\
                    [[column]]\nname = 'a'\nsource = 'a'\ntransform = 'copy'\n";
        let refusal = Policy::parse(text, "p").unwrap_err().to_string();
        let places: Vec<_> = refusal.lines().filter_map(|line| line.split(": ").next()).collect();
        assert_eq!(places, ["p:1:9", "p:2:29", "p:2:34", "p:2:45", "p:5:10"], "{refusal}");
    }

    #[test]
    fn only_an_update_without_an_order_is_warned_of() {
        let warned = |rule| policy(rule).unwrap().on_conflict.unwrap().warning().is_some();
        assert!(warned("{ key = ['id'], do = 'update' }"));
        assert!(!warned("{ key = ['id'], do = 'update', newer_by = 'at' }"));
        assert!(!warned("{ key = ['id'], do = 'ignore' }"));
    }
}
