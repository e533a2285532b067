//! Checks one `[[column]]` of a policy: its name, its keys, and the options of its transform.

use std::ops::Range;

use toml::Spanned;

use super::entry::{BASIC_KEYS, ColumnEntry, Item, OPTIONS};
use super::given::{Given, Noted};
use super::model::ColumnRule;
use super::nearest::unknown;
use super::problem::{PolicyProblem, PolicyText};
use super::transforms::{TRANSFORMS, TransformSyntax, known_transforms};
use super::value_rules::value_rules;

/// Postgres cuts off what is longer in an identifier.
const MAX_NAME_BYTES: usize = 63;

/// The options that are the same for every transform.
const COMMON_OPTIONS: [&str; 3] = ["normalize", "empty", "default"];

impl ColumnEntry {
    /// Checks an entry; gives the column and where its name is, or everything that is wrong with it.
    pub(super) fn check(
        entry: &Spanned<Self>,
        text: PolicyText<'_>,
    ) -> Result<(Range<usize>, ColumnRule), Vec<PolicyProblem>> {
        let mut given =
            Given { entry: entry.get_ref(), text, transform: "", at: entry.span(), problems: Vec::new() };
        given.refuse_unknown_keys();
        let name = given.name();
        let rule = match given.syntax() {
            Ok(syntax) => given.rule(syntax),
            Err(noted) => value_rules(&mut given, None).and(Err(noted)),
        };
        match (name, rule) {
            (Ok(name), Ok(rule)) if given.problems.is_empty() => {
                Ok((name.span(), ColumnRule { name: (*name.get_ref()).to_owned(), ..rule }))
            }
            _ => Err(given.problems),
        }
    }
}

impl<'a> Given<'a> {
    fn refuse_unknown_keys(&mut self) {
        let known: Vec<_> = BASIC_KEYS.into_iter().chain(OPTIONS).collect();
        for (key, at) in self.entry.keys() {
            if !known.contains(&key) {
                self.problems.push(PolicyProblem::new(&at, unknown("key", key, &known)));
            }
        }
    }

    fn name(&mut self) -> Result<Spanned<&'a str>, Noted> {
        let Some(name) = self.text("name")? else {
            let what = "this [[column]] has no `name`; write the name of a column of the table";
            return Err(self.refuse(&self.at.clone(), what));
        };
        if !is_identifier(name.get_ref()) {
            let what =
                format!("{:?} is not a column name; a name has 1 to {MAX_NAME_BYTES} bytes", name.get_ref());
            return Err(self.refuse(&name.span(), what));
        }
        Ok(name)
    }

    fn syntax(&mut self) -> Result<&'static TransformSyntax, Noted> {
        let Some(given) = self.text("transform")? else {
            let at = self.entry.get("name").map_or(self.at.clone(), Spanned::span);
            let known = known_transforms().join(", ");
            return Err(
                self.refuse(&at, format!("this column has no `transform`; the known ones are {known}"))
            );
        };
        self.at = given.span();
        let Some(syntax) = TRANSFORMS.iter().find(|syntax| syntax.name == *given.get_ref()) else {
            let what = unknown("transform", given.get_ref(), &known_transforms());
            return Err(self.refuse(&given.span(), what));
        };
        self.transform = syntax.name;
        Ok(syntax)
    }

    /// The column, still without its name.
    fn rule(&mut self, syntax: &TransformSyntax) -> Result<ColumnRule, Noted> {
        let options = self.options_of(syntax);
        let transform = self.transform(syntax.read);
        let rules = value_rules(self, transform.as_ref().ok());
        Ok(ColumnRule {
            name: String::new(),
            transform: transform?,
            rules: rules?,
            transform_name: syntax.name,
            options,
        })
    }

    /// The options that are given; those of other transforms are refused.
    fn options_of(&mut self, transform: &TransformSyntax) -> Vec<(&'static str, String)> {
        let mut options = Vec::new();
        for option in OPTIONS {
            let Some(item) = self.entry.get(option) else { continue };
            if !transform.options.contains(&option) && !COMMON_OPTIONS.contains(&option) {
                let takers = TRANSFORMS.iter().filter(|syntax| syntax.options.contains(&option));
                let takers: Vec<_> = takers.map(|syntax| format!("{:?}", syntax.name)).collect();
                self.useless(option, &format!("belongs to transform = {}", takers.join(" or ")));
            }
            options.push((option, self.shown(item)));
        }
        options
    }

    /// An option's value as `check` shows it: a text without quotation marks, all else as it is written.
    fn shown(&self, item: &Spanned<Item>) -> String {
        if let Item::Text(text) = item.get_ref() {
            return text.clone();
        }
        let written = self.text.text.get(item.span()).unwrap_or_default();
        written.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// Whether Postgres takes `name` as it is.
pub(super) fn is_identifier(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len()) && !name.contains('\0')
}
