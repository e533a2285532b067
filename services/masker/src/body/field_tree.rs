//! The fields that a policy names, and their values in one body.

use serde::de::IgnoredAny;
use veilpost_proto::v1::Reason;

use super::field_value::FieldValue;
use super::flaw::BodyFlaw;
use super::keep_children::keep_children;
use super::node::Node;
use super::pointer::Pointer;
use super::strict::is_strict;

/// The policy's pointers as a tree of names.
#[derive(Debug)]
pub(crate) struct FieldTree {
    root: Node,
    slots: usize,
}

/// Names one field of a [`FieldTree`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldId(usize);

/// The values of the fields of one body, as the producer wrote them.
pub(crate) struct Body<'a> {
    found: Vec<Option<&'a str>>,
}

impl FieldTree {
    pub(crate) fn new() -> Self {
        Self { root: Node::default(), slots: 1 }
    }

    pub(crate) fn add(&mut self, pointer: &Pointer) -> FieldId {
        let mut node = &mut self.root;
        for name in pointer.names() {
            node = node.children.entry(name.as_str().into()).or_insert_with(|| {
                let slot = self.slots;
                self.slots += 1;
                Node::new(slot, &name)
            });
        }
        FieldId(node.slot)
    }

    /// Reads a body. Of duplicate keys the last one counts. The error says why the body cannot be stored.
    pub(crate) fn find<'a>(&self, body: &'a [u8]) -> Result<Body<'a>, BodyFlaw> {
        let text = std::str::from_utf8(body).map_err(|_| BodyFlaw::NotJson)?;
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        // This check comes before anything that recurses. Text that is not JSON may fail it too.
        if !is_strict(text) {
            return Err(BodyFlaw::NotJson);
        }
        if !text.starts_with('{') {
            let grammatical = serde_json::from_str::<IgnoredAny>(text).is_ok();
            return Err(if grammatical { BodyFlaw::NotAnObject } else { BodyFlaw::NotJson });
        }
        let mut found = vec![None; self.slots];
        walk(&self.root, text, &mut found).map_err(|_| BodyFlaw::NotJson)?;
        if let Some(whole) = found.first_mut() {
            *whole = Some(text);
        }
        Ok(Body { found })
    }
}

impl<'a> Body<'a> {
    /// The field's value; `None` when it is absent or null.
    pub(crate) fn get(&self, FieldId(slot): FieldId) -> Result<Option<FieldValue<'a>>, Reason> {
        match self.found.get(slot).copied().flatten() {
            Some(raw) => FieldValue::read(raw),
            None => Ok(None),
        }
    }

    /// The field as the producer wrote it; `None` when it is absent.
    pub(super) fn raw(&self, FieldId(slot): FieldId) -> Option<&'a str> {
        self.found.get(slot).copied().flatten()
    }

    /// Whether the field is there and not null.
    pub(crate) fn has(&self, FieldId(slot): FieldId) -> bool {
        self.found.get(slot).copied().flatten().is_some_and(|raw| raw != "null")
    }
}

impl FieldId {
    /// Whether this is the body itself and not a field of it.
    pub(crate) fn is_whole_body(self) -> bool {
        self.0 == 0
    }
}

/// Keeps the raw values of `node`'s children in the object or array `text`, then looks inside those that have
/// children themselves. Because it descends only afterwards, the last of duplicate keys wins, and no text is
/// read more often than the pointers are deep.
fn walk<'a>(node: &Node, text: &'a str, found: &mut [Option<&'a str>]) -> serde_json::Result<()> {
    keep_children(node, text, found)?;
    for child in node.children.values().filter(|child| !child.children.is_empty()) {
        let inner = found.get(child.slot).copied().flatten();
        if let Some(inner) = inner.filter(|raw| raw.starts_with(['{', '['])) {
            walk(child, inner, found)?;
        }
    }
    Ok(())
}
