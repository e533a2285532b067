//! A policy and its columns, as they are written.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::model::UnknownRecord;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyFile {
    pub(super) table: Option<Spanned<String>>,
    pub(super) unknown_record: Option<Spanned<UnknownRecord>>,
    #[serde(default, rename = "column")]
    pub(super) columns: Vec<Spanned<ColumnEntry>>,
}

/// All keys that a `[[column]]` can have. Those after `transform` are the options of some transforms.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ColumnEntry {
    pub(super) name: Option<Spanned<String>>,
    pub(super) source: Option<Spanned<String>>,
    pub(super) transform: Option<Spanned<String>>,
    pub(super) domain: Option<Spanned<String>>,
    pub(super) key: Option<Spanned<String>>,
}

/// An option as an entry gives it.
pub(super) struct GivenOption {
    pub(super) at: Range<usize>,
    pub(super) value: String,
}

impl ColumnEntry {
    /// Every option that a transform can have, in the order in which they are shown.
    pub(super) fn options(&self) -> Vec<(&'static str, Option<GivenOption>)> {
        vec![("domain", given_option(self.domain.as_ref())), ("key", given_option(self.key.as_ref()))]
    }
}

fn given_option<T: ToString>(option: Option<&Spanned<T>>) -> Option<GivenOption> {
    option.map(|given| GivenOption { at: given.span(), value: given.get_ref().to_string() })
}
