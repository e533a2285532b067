//! The text form of an encrypted value: `ve1.<key id>.<nonce, ciphertext and tag>`.

use super::{MAX_PADDING, MAX_VALUE_LEN, NONCE_LEN, TAG_LEN};
use crate::base64url;
use crate::data_key::KeyId;

/// The shortest and the longest payload, in bytes: nonce, type byte, value, padding, tag.
const MIN_PAYLOAD: usize = NONCE_LEN + 1 + TAG_LEN;
const MAX_PAYLOAD: usize = MIN_PAYLOAD + MAX_VALUE_LEN + MAX_PADDING;

/// The longest text form of a value, in bytes.
pub const MAX_TEXT_LEN: usize =
    Form::Erasable.name().len() + 1 + KeyId::TEXT_LEN + 1 + base64url::encoded_len(MAX_PAYLOAD);

/// How the key of a value is derived. It is authenticated with the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// From the data key alone.
    Plain,
    /// From the data key and the secret of a person.
    Erasable,
}

impl Form {
    /// What the text form begins with.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "ve1",
            Self::Erasable => "ve1e",
        }
    }
}

/// What stands before the payload.
pub(crate) fn prefix(form: Form, key: KeyId) -> String {
    format!("{}.{key}.", form.name())
}

/// An encrypted value, taken apart. It has one spelling: two texts that differ are two values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedValue {
    pub(crate) form: Form,
    pub(crate) key: KeyId,
    /// Nonce, ciphertext and tag: at least [`MIN_PAYLOAD`] bytes.
    pub(crate) payload: Vec<u8>,
}

/// A text is not an encrypted value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    #[error("not an encrypted value: it does not begin with `ve1.` or `ve1e.`")]
    NotEncrypted,
    #[error("of a format that this version does not know")]
    UnknownFormat,
    #[error("malformed: the id of the data key is not 22 characters of Base64 for URLs")]
    KeyId,
    #[error("malformed: what follows the id of the data key is not Base64 for URLs in its only spelling")]
    Payload,
    #[error("truncated: too short for a nonce, a value and a tag")]
    TooShort,
    #[error("longer than the longest value")]
    TooLong,
}

impl SealedValue {
    /// # Errors
    ///
    /// If the text is not an encrypted value, which the error describes without quoting it.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        if text.len() > MAX_TEXT_LEN {
            return Err(ValueError::TooLong);
        }
        let (name, rest) = text.split_once('.').ok_or(ValueError::NotEncrypted)?;
        let form = form_of(name)?;
        let (key, payload) = rest.split_once('.').ok_or(ValueError::TooShort)?;
        let key = key.parse().map_err(|_| ValueError::KeyId)?;
        let payload = base64url::decode(payload).ok_or(ValueError::Payload)?;
        match payload.len() {
            ..MIN_PAYLOAD => Err(ValueError::TooShort),
            MIN_PAYLOAD..=MAX_PAYLOAD => Ok(Self { form, key, payload }),
            _ => Err(ValueError::TooLong),
        }
    }

    /// Which data key it needs.
    pub fn key_id(&self) -> KeyId {
        self.key
    }

    /// Whether it also needs the secret of a person.
    pub fn is_erasable(&self) -> bool {
        self.form == Form::Erasable
    }
}

impl std::fmt::Display for SealedValue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}{}", prefix(self.form, self.key), base64url::encode(&self.payload))
    }
}

fn form_of(name: &str) -> Result<Form, ValueError> {
    let known = [Form::Plain, Form::Erasable].into_iter().find(|form| form.name() == name);
    known.ok_or_else(|| {
        let version = name.strip_prefix("ve").and_then(|version| version.chars().next());
        let newer = name.len() <= 8 && version.is_some_and(|digit| digit.is_ascii_digit());
        if newer { ValueError::UnknownFormat } else { ValueError::NotEncrypted }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAA";

    fn payload(bytes: usize) -> String {
        base64url::encode(&vec![0; bytes])
    }

    #[test]
    fn a_value_has_one_spelling() {
        for name in ["ve1", "ve1e"] {
            let text = format!("{name}.{KEY}.{}", payload(MIN_PAYLOAD));
            let value = SealedValue::parse(&text).unwrap();
            assert_eq!(value.to_string(), text);
            assert_eq!(value.is_erasable(), name == "ve1e");
        }
    }

    #[test]
    fn what_is_not_a_value_is_refused_with_one_clear_reason() {
        let good = payload(MIN_PAYLOAD);
        let refused = [
            (String::new(), ValueError::NotEncrypted),
            ("203.0.113.7".to_owned(), ValueError::NotEncrypted),
            (format!("VE1.{KEY}.{good}"), ValueError::NotEncrypted),
            (format!(" ve1.{KEY}.{good}"), ValueError::NotEncrypted),
            (format!("ve.{KEY}.{good}"), ValueError::NotEncrypted),
            (format!("vex.{KEY}.{good}"), ValueError::NotEncrypted),
            (format!("ve2.{KEY}.{good}"), ValueError::UnknownFormat),
            (format!("ve1x.{KEY}.{good}"), ValueError::UnknownFormat),
            (format!("ve01.{KEY}.{good}"), ValueError::UnknownFormat),
            ("ve1.".to_owned(), ValueError::TooShort),
            (format!("ve1.{KEY}"), ValueError::TooShort),
            (format!("ve1.{KEY}."), ValueError::TooShort),
            (format!("ve1.{KEY}.{}", payload(MIN_PAYLOAD - 1)), ValueError::TooShort),
            (format!("ve1..{good}"), ValueError::KeyId),
            (format!("ve1.{}B.{good}", KEY.get(1..).unwrap()), ValueError::KeyId),
            (format!("ve1.{KEY}A.{good}"), ValueError::KeyId),
            (format!("ve1.{KEY}.{good}="), ValueError::Payload),
            (format!("ve1.{KEY}.{good}\n"), ValueError::Payload),
            (format!("ve1.{KEY}.{good}.{good}"), ValueError::Payload),
            (format!("ve1.{KEY}.{}B", good.get(1..).unwrap()), ValueError::Payload),
            (format!("ve1e.{KEY}.{}", payload(MAX_PAYLOAD + 3)), ValueError::TooLong),
            (format!("ve1.{KEY}.{}", "A".repeat(MAX_TEXT_LEN)), ValueError::TooLong),
        ];
        for (text, error) in refused {
            assert_eq!(SealedValue::parse(&text), Err(error), "{text:.60}");
        }
        assert!(SealedValue::parse(&format!("ve1e.{KEY}.{}", payload(MAX_PAYLOAD))).is_ok());
    }
}
