//! One node of the tree of names that the policy's pointers are.

use std::collections::BTreeMap;

/// One name on the way to a field.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Where the value is kept while a body is read.
    pub(super) slot: usize,
    /// The name as a position, for a body that has an array here.
    pub(super) position: Option<usize>,
    pub(super) children: BTreeMap<Box<str>, Node>,
}

impl Node {
    pub(super) fn new(slot: usize, name: &str) -> Self {
        Self { slot, position: position(name), children: BTreeMap::new() }
    }
}

/// A name as an array's position. RFC 6901 takes only digits without leading zeros for one.
fn position(name: &str) -> Option<usize> {
    let digits = name.bytes().all(|byte| byte.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    if digits { name.parse().ok() } else { None }
}
