//! Where a column's value is from.

use std::fmt;

use super::pointer::Pointer;

/// Where a column's value is from, as the policy says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The record.
    Record(Pointer),
    /// A message attribute, by its name.
    Attribute(String),
    /// What was around the record, from the inside out; the first text that has the pointer counts.
    Envelope(Pointer),
}

impl Source {
    /// The names on the way to the value, without escapes.
    pub(crate) fn names(&self) -> Vec<String> {
        match self {
            Self::Record(pointer) | Self::Envelope(pointer) => pointer.names().collect(),
            Self::Attribute(name) => vec![name.clone()],
        }
    }

    /// Whether the value is the whole record.
    pub(crate) fn is_whole_record(&self) -> bool {
        matches!(self, Self::Record(pointer) if pointer.is_whole_body())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(pointer) => pointer.fmt(formatter),
            Self::Attribute(name) => write!(formatter, "attribute {name}"),
            Self::Envelope(pointer) => write!(formatter, "envelope {pointer}"),
        }
    }
}
