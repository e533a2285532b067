//! Message bodies: finds the policy's fields in JSON without building a tree of it.

mod decode;
mod envelope;
mod field_tree;
mod field_value;
mod flaw;
mod guess;
mod keep_children;
mod node;
mod pointer;
mod source;
mod strict;
#[cfg(test)]
mod tests;

pub(crate) use decode::Encoding;
pub(crate) use envelope::{BodyReader, BodyRule, Element, Envelope, Opened, Step};
pub(crate) use field_tree::{Body, FieldId, FieldTree};
pub(crate) use field_value::FieldValue;
pub(crate) use flaw::BodyFlaw;
pub(crate) use guess::looks_like;
pub(crate) use pointer::Pointer;
pub(crate) use source::Source;
