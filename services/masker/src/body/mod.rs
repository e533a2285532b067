//! Message bodies: finds the policy's fields in JSON without building a tree of it.

pub(crate) mod field_tree;
pub(crate) mod pointer;
mod strict;
