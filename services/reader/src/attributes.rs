//! The attributes that a producer gives a message.

use std::collections::HashMap;

use aws_sdk_sqs::types::MessageAttributeValue;
use veilpost_proto::v1::{Attribute, attribute};

use crate::trace_context;

/// Message attributes by name.
pub(crate) type Attributes = HashMap<String, MessageAttributeValue>;

/// The value of a text attribute.
pub(crate) fn text<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a str> {
    attributes.get(name)?.string_value.as_deref()
}

/// The attributes as the masker gets them, in the order of their names: policies may read them. Those of the
/// trace context travel by themselves.
pub(crate) fn of_contract(attributes: &Attributes) -> Vec<Attribute> {
    let is_of_producer = |(name, _): &(&String, &MessageAttributeValue)| !trace_context::is_attribute(name);
    let mut sent: Vec<_> = attributes.iter().filter(is_of_producer).map(attribute).collect();
    sent.sort_by(|one, next| one.name.cmp(&next.name));
    sent
}

fn attribute((name, value): (&String, &MessageAttributeValue)) -> Attribute {
    let text = value.string_value.clone().map(attribute::Value::Text);
    let binary = || value.binary_value.clone().map(|blob| attribute::Value::Binary(blob.into_inner().into()));
    Attribute { name: name.clone(), value: text.or_else(binary) }
}

/// How many bytes of a message's size its attributes take.
pub(crate) fn total_bytes<'a>(
    attributes: impl IntoIterator<Item = (&'a String, &'a MessageAttributeValue)>,
) -> usize {
    attributes.into_iter().map(|(name, value)| bytes(name, value)).sum()
}

/// How many bytes of a message's size one attribute takes: name, type and value.
pub(crate) fn bytes(name: &str, value: &MessageAttributeValue) -> usize {
    let text = value.string_value.as_ref().map_or(0, String::len);
    let binary = value.binary_value.as_ref().map_or(0, |blob| blob.as_ref().len());
    name.len() + value.data_type.len() + text + binary
}
