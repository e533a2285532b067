//! What a column does to its value before the transform, and what it stores without one.

use std::borrow::Cow;

use veilpost_proto::v1::value::Kind;

use super::ReadyTransform;
use crate::body::FieldValue;
use crate::fault::Fault;
use crate::normalize::Step;

/// The keys that every column can have, as the policy says them. It has the same meaning for all transforms.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ValueRules {
    /// In the order in which the steps are taken; each at most once.
    pub(crate) normalize: Vec<Step>,
    /// Whether a text that is empty, as it is or after a step, counts as null.
    pub(crate) empty_is_null: bool,
    /// Stored as it is for a value that is absent or null.
    pub(crate) default: Option<Kind>,
}

impl ValueRules {
    /// The column's value for what its source holds; `None` is stored as NULL.
    ///
    /// # Errors
    /// When the value breaks a rule of a normalisation or of `transform`.
    pub(crate) fn value(
        &self,
        transform: &ReadyTransform,
        field: Option<FieldValue<'_>>,
    ) -> Result<Option<Kind>, Fault> {
        match self.normal(field)? {
            Some(field) => transform.apply(field),
            None => Ok(self.default.clone()),
        }
    }

    /// Whether `field` holds something to transform.
    pub(crate) fn has_value(&self, field: Option<FieldValue<'_>>) -> bool {
        matches!(self.normal(field), Ok(Some(_)))
    }

    /// What is to be transformed; `None` for absent, null and what counts as null.
    fn normal<'a>(&self, field: Option<FieldValue<'a>>) -> Result<Option<FieldValue<'a>>, Fault> {
        match field {
            Some(field) if !self.normalize.is_empty() => self.normal_text(field.scalar()?),
            Some(FieldValue::Text(text)) if self.counts_as_null(&text) => Ok(None),
            field => Ok(field),
        }
    }

    fn normal_text<'a>(&self, mut text: Cow<'a, str>) -> Result<Option<FieldValue<'a>>, Fault> {
        for step in &self.normalize {
            if self.counts_as_null(&text) {
                return Ok(None);
            }
            text = step.apply(text)?;
        }
        Ok(if self.counts_as_null(&text) { None } else { Some(FieldValue::Text(text)) })
    }

    fn counts_as_null(&self, text: &str) -> bool {
        self.empty_is_null && text.is_empty()
    }
}
