//! Body and attributes of a message, from and to JSON.

use std::collections::{BTreeMap, HashMap};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use crate::queue::server::call::missing;
use crate::queue::state::{Attribute, AttributeValue, Code, Content, SqsError};

const MAX_ATTRIBUTES: usize = 10;

const TRACE_HEADER: &str = "AWSTraceHeader";

/// The value of an attribute as JSON has it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct WireValue {
    #[serde(default)]
    data_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    string_value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    binary_value: Option<String>,
}

impl WireValue {
    /// Bytes of type and value, as SQS counts them.
    pub(super) fn size(&self) -> usize {
        // Four digits of Base64 are three bytes.
        let binary =
            self.binary_value.as_deref().map_or(0, |digits| digits.trim_end_matches('=').len() * 3 / 4);
        self.data_type.len() + self.string_value.as_deref().map_or(0, str::len) + binary
    }
}

pub(super) type WireValues = HashMap<String, WireValue>;

/// What a message is made of, once it is found to be what SQS accepts.
pub(super) fn content(body: &str, attributes: WireValues, system: WireValues) -> Result<Content, SqsError> {
    check_body(body)?;
    if attributes.len() > MAX_ATTRIBUTES {
        let count = attributes.len();
        return Err(wrong(format!(
            "Number of message attributes [{count}] exceeds the allowed maximum [{MAX_ATTRIBUTES}]."
        )));
    }
    let attributes = attributes.into_iter().map(|(name, value)| attribute(name, value));
    let attributes = attributes.collect::<Result<_, _>>()?;
    Ok(Content::new(body, attributes, trace_header(system)?))
}

fn check_body(body: &str) -> Result<(), SqsError> {
    if body.is_empty() {
        return Err(missing("MessageBody"));
    }
    let is_allowed = |character| !matches!(character, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}');
    if body.chars().all(is_allowed) {
        return Ok(());
    }
    let text = "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 \
                to #xFFFD | #x10000 to #x10FFFF";
    Err(SqsError::new(Code::InvalidMessageContents, text))
}

fn attribute(name: String, wire: WireValue) -> Result<Attribute, SqsError> {
    check_name(&name)?;
    let value = match wire.data_type.split('.').next() {
        Some("String") => wire.string_value.filter(|text| !text.is_empty()).map(text),
        Some("Number") => wire.string_value.filter(|text| is_number(text)).map(text),
        Some("Binary") => wire.binary_value.as_deref().and_then(bytes).map(AttributeValue::Binary),
        _ => {
            return Err(wrong(format!(
                "The type of message (user) attribute '{name}' is invalid. You must use only the following \
                 supported type prefixes: Binary, Number, String."
            )));
        }
    };
    let value = value.ok_or_else(|| {
        let data_type = &wire.data_type;
        wrong(format!(
            "The message attribute '{name}' with type '{data_type}' must have a value of this type."
        ))
    })?;
    Ok(Attribute { name: name.into(), data_type: wire.data_type.into(), value })
}

fn text(text: String) -> AttributeValue {
    AttributeValue::Text(text.into())
}

fn bytes(base64: &str) -> Option<Box<[u8]>> {
    let bytes = BASE64_STANDARD.decode(base64).ok().filter(|bytes| !bytes.is_empty())?;
    Some(bytes.into())
}

fn is_number(text: &str) -> bool {
    text.parse::<f64>().is_ok_and(f64::is_finite)
}

fn check_name(name: &str) -> Result<(), SqsError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let lower = name.to_ascii_lowercase();
    let is_reserved = ["aws.", "amazon."].iter().any(|prefix| lower.starts_with(prefix));
    let has_stray_dot = name.starts_with('.') || name.ends_with('.') || name.contains("..");
    if (1..=256).contains(&name.len()) && name.bytes().all(is_allowed) && !is_reserved && !has_stray_dot {
        return Ok(());
    }
    Err(wrong(format!(
        "Invalid message attribute name '{name}'. It can contain alphanumeric characters, hyphens, underscores \
         and single periods inside, up to 256, and must not begin with AWS. or Amazon."
    )))
}

fn trace_header(system: WireValues) -> Result<Option<Box<str>>, SqsError> {
    let mut header = None;
    for (name, value) in system {
        if name != TRACE_HEADER || value.data_type != "String" {
            return Err(wrong(format!(
                "Message system attribute '{name}' is invalid: the only one is {TRACE_HEADER}, of type String."
            )));
        }
        header = value.string_value.map(Into::into);
    }
    Ok(header)
}

/// The system attributes that were sent, for their digest.
pub(super) fn system_attributes(content: &Content) -> Option<Attribute> {
    let value = AttributeValue::Text(content.trace_header.clone()?);
    Some(Attribute { name: TRACE_HEADER.into(), data_type: "String".into(), value })
}

/// Attributes as JSON has them.
pub(super) fn wire<'a>(attributes: impl IntoIterator<Item = &'a Attribute>) -> BTreeMap<&'a str, WireValue> {
    let value = |attribute: &Attribute| {
        let data_type = attribute.data_type.to_string();
        let (string_value, binary_value) = match &attribute.value {
            AttributeValue::Text(text) => (Some(text.to_string()), None),
            AttributeValue::Binary(bytes) => (None, Some(BASE64_STANDARD.encode(bytes))),
        };
        WireValue { data_type, string_value, binary_value }
    };
    attributes.into_iter().map(|attribute| (&*attribute.name, value(attribute))).collect()
}

fn wrong(text: impl Into<String>) -> SqsError {
    SqsError::new(Code::InvalidParameterValue, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(data_type: &str, text: Option<&str>, binary: Option<&str>) -> WireValue {
        WireValue {
            data_type: data_type.to_owned(),
            string_value: text.map(str::to_owned),
            binary_value: binary.map(str::to_owned),
        }
    }

    fn code(name: &str, value: WireValue) -> Option<Code> {
        let attributes = WireValues::from([(name.to_owned(), value)]);
        content("body", attributes, WireValues::new()).err().map(|error| error.code)
    }

    #[test]
    fn attributes_have_a_known_type_and_a_value_of_it() {
        assert_eq!(code("a", value("String.custom", Some("x"), None)), None);
        assert_eq!(code("a", value("Number.int", Some("-1.5e3"), None)), None);
        assert_eq!(code("a", value("Binary", None, Some("AQI="))), None);
        for wrong in [
            value("String", None, Some("AQI=")),
            value("String", Some(""), None),
            value("Number", Some("many"), None),
            value("Number", Some("inf"), None),
            value("Binary", Some("x"), None),
            value("Binary", None, Some("not base64!")),
            value("Boolean", Some("true"), None),
            value("", Some("x"), None),
        ] {
            assert_eq!(code("a", wrong), Some(Code::InvalidParameterValue));
        }
    }

    #[test]
    fn names_of_attributes_keep_to_what_is_allowed() {
        assert_eq!(code("veilpost.message-id_1", value("String", Some("x"), None)), None);
        for name in ["", ".a", "a.", "a..b", "aws.x", "Amazon.x", "a b", "ä", &"x".repeat(257)] {
            let code = code(name, value("String", Some("x"), None));
            assert_eq!(code, Some(Code::InvalidParameterValue), "{name}");
        }
    }

    #[test]
    fn bodies_have_only_characters_that_xml_has() {
        let code = |body| content(body, WireValues::new(), WireValues::new()).err().map(|error| error.code);
        assert_eq!(code("a\t\r\n\u{7f}\u{e000}\u{10ffff}"), None);
        for body in ["a\u{b}", "\0", "\u{1f}", "\u{ffff}"] {
            assert_eq!(code(body), Some(Code::InvalidMessageContents), "{body:?}");
        }
        assert_eq!(code(""), Some(Code::MissingParameter));
    }
}
