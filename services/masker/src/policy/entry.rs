//! A policy and its columns, as they are written.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

use super::model::UnknownRecord;
use super::on_conflict::OnConflictEntry;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyFile {
    pub(super) table: Option<Spanned<String>>,
    pub(super) unknown_record: Option<Spanned<UnknownRecord>>,
    pub(super) body: Option<BodyEntry>,
    pub(super) on_conflict: Option<Spanned<OnConflictEntry>>,
    #[serde(default, rename = "column")]
    pub(super) columns: Vec<Spanned<ColumnEntry>>,
}

/// All keys of `[body]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BodyEntry {
    #[serde(default)]
    pub(super) decode: Vec<Spanned<String>>,
    /// A text or a list of texts.
    pub(super) unwrap: Option<Spanned<toml::Value>>,
    pub(super) records: Option<Spanned<String>>,
    pub(super) max_records: Option<Spanned<i64>>,
    pub(super) allow_unwrapped: Option<Spanned<bool>>,
}

/// The keys of a `[[column]]` that are no options.
pub(super) const BASIC_KEYS: [&str; 5] = ["name", "source", "attribute", "envelope", "transform"];

/// Every option that a column can have, in the order in which they are shown.
pub(super) const OPTIONS: [&str; 16] = [
    "normalize",
    "domain",
    "key",
    "without",
    "v4",
    "v6",
    "keep_first",
    "keep_last",
    "mask",
    "value",
    "format",
    "timezone",
    "true",
    "false",
    "empty",
    "default",
];

/// One `[[column]]`: its keys and values in their order. Each key is there once.
pub(super) struct ColumnEntry(Vec<(Spanned<String>, Spanned<Item>)>);

/// A value of TOML as it is given.
pub(super) enum Item {
    Text(String),
    Integer(i64),
    /// A number whose digits are in the policy's text.
    Number,
    Boolean(bool),
    List(Vec<Spanned<Item>>),
    /// A table or a date.
    Other,
}

impl ColumnEntry {
    pub(super) fn get(&self, key: &str) -> Option<&Spanned<Item>> {
        self.0.iter().find(|(name, _)| name.get_ref() == key).map(|(_, item)| item)
    }

    /// The text of its `name`, whatever else is wrong.
    pub(super) fn name(&self) -> Option<&str> {
        match self.get("name")?.get_ref() {
            Item::Text(name) => Some(name),
            _ => None,
        }
    }

    /// Every key, and where it is.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&str, Range<usize>)> {
        self.0.iter().map(|(name, _)| (name.get_ref().as_str(), name.span()))
    }
}

impl Item {
    /// What it is, for error messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "an integer",
            Self::Number => "a number",
            Self::Boolean(_) => "a boolean",
            Self::List(_) => "a list",
            Self::Other => "a table or date",
        }
    }
}

impl<'de> Deserialize<'de> for ColumnEntry {
    fn deserialize<D: Deserializer<'de>>(toml: D) -> Result<Self, D::Error> {
        toml.deserialize_map(EntryVisitor)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = ColumnEntry;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the keys of a column")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ColumnEntry, A::Error> {
        let mut keys = Vec::new();
        while let Some(entry) = map.next_entry()? {
            keys.push(entry);
        }
        Ok(ColumnEntry(keys))
    }
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(toml: D) -> Result<Self, D::Error> {
        toml.deserialize_any(ItemVisitor)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Item, E> {
        Ok(Item::Text(text.to_owned()))
    }

    fn visit_i64<E>(self, integer: i64) -> Result<Item, E> {
        Ok(Item::Integer(integer))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Item, E> {
        Ok(Item::Number)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Item, E> {
        Ok(Item::Number)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Item, E> {
        Ok(Item::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Item, E> {
        Ok(Item::Number)
    }

    fn visit_bool<E>(self, boolean: bool) -> Result<Item, E> {
        Ok(Item::Boolean(boolean))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Item, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Item::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Item::Other)
    }
}
