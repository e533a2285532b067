//! What is around the records of one message.

use super::scope::Trees;
use crate::body::{Body, BodyFlaw, Element, FieldTree, Opened};

/// The JSON texts around the record that is masked, from the outside in. Nothing is read unless the policy
/// needs it.
pub(super) struct Around<'a> {
    tree: Option<&'a FieldTree>,
    /// Those of the envelopes, then, perhaps, the one whose array the last record was in.
    bodies: Vec<Body<'a>>,
    envelopes: usize,
    last: Option<&'a str>,
}

impl<'a> Around<'a> {
    pub(super) fn new(trees: &'a Trees, opened: &'a Opened<'_>) -> Result<Self, BodyFlaw> {
        let tree = trees.reads_envelope.then_some(&trees.envelope);
        let bodies = match tree {
            Some(tree) => opened.around.iter().map(|text| tree.find(text)).collect::<Result<Vec<_>, _>>()?,
            None => Vec::new(),
        };
        Ok(Self { tree, envelopes: bodies.len(), bodies, last: None })
    }

    /// What is around `element`. Elements of one array stand next to each other.
    pub(super) fn of(&mut self, element: &Element<'a>) -> Result<&[Body<'a>], BodyFlaw> {
        let Some(tree) = self.tree else { return Ok(&[]) };
        let same = match (self.last, element.around) {
            (Some(last), Some(around)) => std::ptr::eq(last, around),
            (last, around) => last.is_none() && around.is_none(),
        };
        if !same {
            self.bodies.truncate(self.envelopes);
            if let Some(text) = element.around {
                self.bodies.push(tree.find(text.as_bytes())?);
            }
            self.last = element.around;
        }
        Ok(&self.bodies)
    }
}
