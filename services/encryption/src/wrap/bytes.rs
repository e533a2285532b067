//! The bytes of a wrap.

use super::Wrap;
use crate::data_key::{Commitment, KeyId};
use crate::keys::{RecipientId, Suite};

/// The version of the format, in its first byte.
const VERSION: u8 = 1;

/// Ciphertexts, in bytes: encapsulated key, data key and tag for HPKE.
const X_WING_LEN: usize = 1120 + 32 + 16;
const X25519_LEN: usize = 32 + 32 + 16;
/// As long as the modulus, of 2048 to 8192 bits.
const RSA_LEN: std::ops::RangeInclusive<usize> = 256..=1024;

/// The longest wrap, in bytes.
pub const MAX_WRAP_LEN: usize = 3 + RecipientId::MAX_LEN + KeyId::LEN + Commitment::LEN + X_WING_LEN;

/// The bytes are not a wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrapBytesError {
    #[error("not a wrapped data key, or one of a format that this version does not know")]
    UnknownFormat,
    #[error("a wrapped data key of a suite that this version does not know")]
    UnknownSuite,
    #[error("a wrapped data key with a malformed recipient")]
    Recipient,
    #[error("a wrapped data key that is truncated, or longer than those of its suite")]
    Length,
}

impl Wrap {
    /// Version, suite, length of the recipient's id, recipient's id, id of the data key, commitment,
    /// ciphertext.
    pub fn to_bytes(&self) -> Vec<u8> {
        let recipient = self.recipient.as_str().as_bytes();
        let length = u8::try_from(recipient.len()).unwrap_or(u8::MAX);
        let head: [&[u8]; 5] = [
            &[VERSION, self.suite.byte(), length],
            recipient,
            self.key_id.as_bytes(),
            self.commitment.as_bytes(),
            &self.ciphertext,
        ];
        head.concat()
    }

    /// # Errors
    ///
    /// If the bytes are not what [`Wrap::to_bytes`] writes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WrapBytesError> {
        let (&[version, suite, length], rest) =
            bytes.split_first_chunk().ok_or(WrapBytesError::UnknownFormat)?;
        if version != VERSION {
            return Err(WrapBytesError::UnknownFormat);
        }
        let suite = Suite::of_byte(suite).ok_or(WrapBytesError::UnknownSuite)?;
        let (recipient, rest) = rest.split_at_checked(length.into()).ok_or(WrapBytesError::Length)?;
        let recipient = std::str::from_utf8(recipient).ok().and_then(|text| text.parse().ok());
        let recipient = recipient.ok_or(WrapBytesError::Recipient)?;
        let (key_id, rest) = rest.split_first_chunk().ok_or(WrapBytesError::Length)?;
        let (commitment, ciphertext) = rest.split_first_chunk().ok_or(WrapBytesError::Length)?;
        if !has_length_of(suite, ciphertext) {
            return Err(WrapBytesError::Length);
        }
        let (key_id, commitment) = (KeyId::from_bytes(*key_id), Commitment::from_bytes(*commitment));
        Ok(Self { suite, recipient, key_id, commitment, ciphertext: ciphertext.to_vec() })
    }
}

fn has_length_of(suite: Suite, ciphertext: &[u8]) -> bool {
    match suite {
        Suite::XWing => ciphertext.len() == X_WING_LEN,
        Suite::X25519 => ciphertext.len() == X25519_LEN,
        Suite::RsaOaep256 => RSA_LEN.contains(&ciphertext.len()),
    }
}
