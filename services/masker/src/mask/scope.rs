//! What the values of one row are from.

use std::borrow::Cow;

use jiff::Timestamp;
use veilpost_proto::v1::{Attribute, RawRecord, attribute};

use crate::body::{Body, FieldId, FieldTree, FieldValue, Source};
use crate::fault::Fault;

/// The trees that the policy's pointers are in.
#[derive(Debug)]
pub(super) struct Trees {
    pub(super) record: FieldTree,
    pub(super) envelope: FieldTree,
    /// Whether any pointer is in `envelope`.
    pub(super) reads_envelope: bool,
}

/// Where a column's value is from.
#[derive(Debug)]
pub(super) enum Place {
    Record(FieldId),
    Attribute(String),
    Envelope(FieldId),
}

/// What one row is made of.
pub(super) struct Scope<'a> {
    pub(super) body: Body<'a>,
    /// What is around the record, from the outside in.
    pub(super) around: &'a [Body<'a>],
    pub(super) message: &'a RawRecord,
    /// The time of ingestion.
    pub(super) now: Timestamp,
}

impl Trees {
    pub(super) fn new() -> Self {
        Self { record: FieldTree::new(), envelope: FieldTree::new(), reads_envelope: false }
    }

    pub(super) fn add(&mut self, source: &Source) -> Place {
        match source {
            Source::Record(pointer) => Place::Record(self.record.add(pointer)),
            Source::Attribute(name) => Place::Attribute(name.clone()),
            Source::Envelope(pointer) => {
                self.reads_envelope = true;
                Place::Envelope(self.envelope.add(pointer))
            }
        }
    }
}

impl<'a> Scope<'a> {
    /// The value at a place; `None` when it is absent or null.
    pub(super) fn get(&self, place: &Place) -> Result<Option<FieldValue<'a>>, Fault> {
        match place {
            Place::Record(id) => Ok(self.body.get(*id)?),
            Place::Attribute(name) => self.attribute(name).map_or(Ok(None), of_attribute),
            Place::Envelope(id) => match self.enclosing(*id) {
                Some(body) => Ok(body.get(*id)?),
                None => Ok(None),
            },
        }
    }

    /// Whether something is there that is not null.
    pub(super) fn has(&self, place: &Place) -> bool {
        match place {
            Place::Record(id) => self.body.has(*id),
            Place::Attribute(name) => self.attribute(name).is_some_and(|attribute| attribute.value.is_some()),
            Place::Envelope(id) => self.enclosing(*id).is_some(),
        }
    }

    fn attribute(&self, name: &str) -> Option<&'a Attribute> {
        self.message.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// The innermost text around the record that has the field.
    fn enclosing(&self, id: FieldId) -> Option<&'a Body<'a>> {
        self.around.iter().rev().find(|body| body.has(id))
    }
}

fn of_attribute(attribute: &Attribute) -> Result<Option<FieldValue<'_>>, Fault> {
    match &attribute.value {
        Some(attribute::Value::Text(text)) => Ok(Some(FieldValue::Text(Cow::Borrowed(text)))),
        Some(attribute::Value::Binary(_)) => Err(Fault::invalid("a binary attribute where a text is needed")),
        None => Ok(None),
    }
}
