//! Message bodies: finds the policy's fields in JSON without building a tree of it.

mod field_tree;
mod field_value;
mod keep_children;
mod node;
mod pointer;
mod strict;
#[cfg(test)]
mod tests;

pub(crate) use field_tree::{Body, FieldId, FieldTree};
pub(crate) use field_value::FieldValue;
pub(crate) use pointer::Pointer;
