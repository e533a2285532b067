//! The name of a key pair.

use std::fmt;
use std::str::FromStr;

/// The name of a key pair, such as `recovery-2026`: what a policy names, and what is stored with each wrap.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecipientId(String);

/// The text is not the id of a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the id of a recipient has 1 to 64 letters, digits, '-', '_' and '.', and begins with a letter or digit"
)]
pub struct RecipientIdError;

impl RecipientId {
    pub(crate) const MAX_LEN: usize = 64;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RecipientId {
    type Err = RecipientIdError;

    fn from_str(text: &str) -> Result<Self, RecipientIdError> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let fits = text.len() <= Self::MAX_LEN
            && text.bytes().all(known)
            && text.starts_with(|first: char| first.is_ascii_alphanumeric());
        fits.then(|| Self(text.to_owned())).ok_or(RecipientIdError)
    }
}

impl fmt::Display for RecipientId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
