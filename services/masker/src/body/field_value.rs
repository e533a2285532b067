//! One value of a body.

use std::borrow::Cow;

use veilpost_proto::v1::Reason;

/// What a field holds, if it is there and not null. It is clear text: no `Debug`.
pub(crate) enum FieldValue<'a> {
    Text(Cow<'a, str>),
    /// As the producer wrote it.
    Number(&'a str),
    Boolean(bool),
    /// An object or array, as the producer wrote it.
    Json(&'a str),
}

impl<'a> FieldValue<'a> {
    /// Reads one JSON value, which must be well-formed; `None` for null.
    pub(super) fn read(raw: &'a str) -> Result<Option<Self>, Reason> {
        Ok(match raw.as_bytes().first() {
            Some(b'n') => None,
            Some(b'"') => Some(Self::Text(unquote(raw)?)),
            Some(b't') => Some(Self::Boolean(true)),
            Some(b'f') => Some(Self::Boolean(false)),
            Some(b'{' | b'[') => Some(Self::Json(raw)),
            _ => Some(Self::Number(raw)),
        })
    }

    /// The text of a scalar: a number's and a boolean's as the producer wrote it.
    pub(crate) fn scalar(self) -> Result<Cow<'a, str>, Reason> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Number(number) => Ok(number.into()),
            Self::Boolean(boolean) => Ok(if boolean { "true" } else { "false" }.into()),
            Self::Json(_) => Err(Reason::NotAScalar),
        }
    }
}

fn unquote(raw: &str) -> Result<Cow<'_, str>, Reason> {
    match raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(text) if !text.contains('\\') => Ok(Cow::Borrowed(text)),
        _ => serde_json::from_str(raw).map(Cow::Owned).map_err(|_| Reason::NotJson),
    }
}
