//! Reads the keys of one `[[column]]` and notes everything that is wrong with them.

use std::ops::{Range, RangeInclusive};

use toml::Spanned;

use super::entry::{ColumnEntry, Item};
use super::problem::{PolicyProblem, PolicyText};
use crate::body::Pointer;

/// A problem has been noted, and the column cannot be used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noted;

/// A column with its transform's name, and what is wrong with it so far.
pub(super) struct Given<'a> {
    pub(super) entry: &'a ColumnEntry,
    pub(super) text: PolicyText<'a>,
    /// The transform's name; empty when it is not known.
    pub(super) transform: &'static str,
    /// Where `transform` is, or else the column.
    pub(super) at: Range<usize>,
    pub(super) problems: Vec<PolicyProblem>,
}

impl<'a> Given<'a> {
    pub(super) fn refuse(&mut self, at: &Range<usize>, what: impl Into<String>) -> Noted {
        self.problems.push(PolicyProblem::new(at, what));
        Noted
    }

    /// Refuses a column without a key that its transform needs.
    pub(super) fn needs(&mut self, what: &str) -> Noted {
        let what = format!("transform = {:?} needs {what}", self.transform);
        self.refuse(&self.at.clone(), what)
    }

    /// Refuses a key that would change nothing.
    pub(super) fn useless(&mut self, key: &str, why: &str) -> Noted {
        let at = self.entry.get(key).map_or(self.at.clone(), Spanned::span);
        let what = format!("`{key}` with transform = {:?}: it {why}; remove it", self.transform);
        self.refuse(&at, what)
    }

    /// The text of `key`, if it is there.
    pub(super) fn text(&mut self, key: &str) -> Result<Option<Spanned<&'a str>>, Noted> {
        let Some(item) = self.entry.get(key) else { return Ok(None) };
        match item.get_ref() {
            Item::Text(text) => Ok(Some(Spanned::new(item.span(), text))),
            other => Err(self.other_type(key, item, "a text", other)),
        }
    }

    /// The texts of the list `key`, if it is there; at least one, and none of them twice.
    pub(super) fn texts(&mut self, key: &str) -> Result<Option<Vec<Spanned<&'a str>>>, Noted> {
        let Some(item) = self.entry.get(key) else { return Ok(None) };
        let Item::List(list) = item.get_ref() else {
            return Err(self.other_type(key, item, "a list of texts, such as [\"…\"]", item.get_ref()));
        };
        if list.is_empty() {
            return Err(
                self.refuse(&item.span(), format!("`{key}` is an empty list; name something or remove it"))
            );
        }
        let mut texts: Vec<Spanned<&str>> = Vec::new();
        let mut good = Ok(());
        for item in list {
            match item.get_ref() {
                Item::Text(text) if texts.iter().any(|other| other.get_ref() == text) => {
                    good = Err(self.refuse(&item.span(), format!("{text:?} is there twice; remove one")));
                }
                Item::Text(text) => texts.push(Spanned::new(item.span(), text)),
                other => good = Err(self.other_type(key, item, "texts in its list", other)),
            }
        }
        good.map(|()| Some(texts))
    }

    /// The integer of `key`, if it is there; it must be in `range`.
    pub(super) fn integer<N>(&mut self, key: &str, range: RangeInclusive<i64>) -> Result<Option<N>, Noted>
    where
        N: TryFrom<i64>,
    {
        let Some(item) = self.entry.get(key) else { return Ok(None) };
        let Item::Integer(integer) = item.get_ref() else {
            return Err(self.other_type(key, item, "an integer", item.get_ref()));
        };
        match N::try_from(*integer) {
            Ok(number) if range.contains(integer) => Ok(Some(number)),
            _ => {
                let what =
                    format!("`{key}` is {integer}; it must be from {} to {}", range.start(), range.end());
                Err(self.refuse(&item.span(), what))
            }
        }
    }

    /// The pointer in `text`.
    pub(super) fn pointer(&mut self, text: &Spanned<&str>) -> Result<Pointer, Noted> {
        Pointer::parse(text.get_ref()).map_err(|what| self.refuse(&text.span(), what))
    }

    fn other_type(&mut self, key: &str, item: &Spanned<Item>, needed: &str, given: &Item) -> Noted {
        self.refuse(&item.span(), format!("`{key}` needs {needed}, not {}", given.kind()))
    }
}
