//! Message bodies: finds the policy's fields in JSON without building a tree of it.

mod children;
mod field;
mod field_tree;
mod node;
mod pointer;
mod strict;
#[cfg(test)]
mod tests;

pub(crate) use field::Field;
pub(crate) use field_tree::{Body, FieldId, FieldTree};
pub(crate) use pointer::Pointer;
