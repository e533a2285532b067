//! The attributes that a producer gives a message.

use std::collections::HashMap;

use aws_sdk_sqs::types::MessageAttributeValue;

/// Message attributes by name.
pub(crate) type Attributes = HashMap<String, MessageAttributeValue>;

/// The value of a text attribute.
pub(crate) fn text<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a str> {
    attributes.get(name)?.string_value.as_deref()
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
