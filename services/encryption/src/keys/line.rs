//! The text of a key: one line, among comments and empty lines.

use aws_lc_rs::error::{KeyRejected, Unspecified};
use zeroize::Zeroizing;

use super::{RecipientId, RecipientIdError, Suite, UnknownSuite};
use crate::base64url;
use crate::crypto::CryptoFailed;

/// Which half of a key pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    Public,
    Private,
}

impl Half {
    /// The first word of the line.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Public => "veilpost-public-key-1",
            Self::Private => "veilpost-private-key-1",
        }
    }
}

/// A text is not the key that it should be. No variant contains a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("no key: no line begins with `veilpost-public-key-1` or `veilpost-private-key-1`")]
    Missing,
    #[error("more than one key, or a line that is neither a key nor a comment")]
    Several,
    #[error("a private key, where a public one is needed: keep it away from here")]
    Private,
    #[error("a public key, where a private one is needed")]
    Public,
    #[error("malformed: a key is four words, `{} SUITE RECIPIENT KEY`, one space apart", Half::Public.word())]
    Words,
    #[error(transparent)]
    Suite(#[from] UnknownSuite),
    #[error(transparent)]
    Recipient(#[from] RecipientIdError),
    #[error("malformed: the key is not Base64 for URLs in its only spelling")]
    Encoding,
    #[error("not a key of its suite: truncated, changed, or unsafe")]
    Unusable,
    #[error("not a PEM file of an RSA key of 2048 to 8192 bits")]
    NotRsa,
    #[error(transparent)]
    Crypto(#[from] CryptoFailed),
}

impl From<KeyRejected> for KeyError {
    fn from(_: KeyRejected) -> Self {
        Self::Unusable
    }
}

impl From<Unspecified> for KeyError {
    fn from(_: Unspecified) -> Self {
        Self::Crypto(CryptoFailed)
    }
}

/// A key's line, taken apart.
pub(crate) struct Line {
    pub(crate) suite: Suite,
    pub(crate) recipient: RecipientId,
    pub(crate) key: Zeroizing<Vec<u8>>,
}

impl Line {
    pub(crate) fn parse(text: &str, half: Half) -> Result<Self, KeyError> {
        let mut words = only_line(text)?.split(' ');
        match (words.next(), half) {
            (Some(word), _) if word == half.word() => {}
            (Some(word), Half::Public) if word == Half::Private.word() => return Err(KeyError::Private),
            (Some(word), Half::Private) if word == Half::Public.word() => return Err(KeyError::Public),
            _ => return Err(KeyError::Missing),
        }
        let (Some(suite), Some(recipient), Some(key), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(KeyError::Words);
        };
        let (suite, recipient) = (suite.parse()?, recipient.parse()?);
        let key = base64url::decode(key).map(Zeroizing::new).ok_or(KeyError::Encoding)?;
        Ok(Self { suite, recipient, key })
    }
}

/// The line of a key, without a line break.
pub(crate) fn write(half: Half, suite: Suite, recipient: &RecipientId, key: &[u8]) -> Zeroizing<String> {
    let head = [half.word(), suite.name(), recipient.as_str(), ""].join(" ");
    // With room for all of it: a text that moves leaves a copy behind.
    let mut text = Zeroizing::new(String::with_capacity(head.len() + base64url::encoded_len(key.len())));
    text.push_str(&head);
    base64url::push(&mut text, key);
    text
}

/// The one line that is neither empty nor a comment.
fn only_line(text: &str) -> Result<&str, KeyError> {
    let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let line = lines.next().ok_or(KeyError::Missing)?;
    if lines.next().is_some() { Err(KeyError::Several) } else { Ok(line) }
}
