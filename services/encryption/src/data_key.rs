//! The data key, and what is derived from it: an id, a commitment, one key for each context.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hkdf;
use zeroize::Zeroizing;

use crate::crypto::{self, CryptoFailed};
use crate::subject::SubjectSecret;
use crate::{Context, base64url, fields};

/// The length of a data key, in bytes.
pub(crate) const SECRET_LEN: usize = 32;

const SALT: &[u8] = b"veilpost data key 1";
const SALT_WITH_SUBJECT: &[u8] = b"veilpost data key and subject 1";

/// A secret of 32 bytes from which the keys of all contexts follow. It is wiped from memory when dropped, and
/// `Debug` shows its id only.
#[derive(Clone)]
pub struct DataKey {
    secret: Zeroizing<[u8; SECRET_LEN]>,
    id: KeyId,
    commitment: Commitment,
}

impl DataKey {
    /// Draws a data key from the operating system.
    ///
    /// # Errors
    ///
    /// If the system has no random bytes.
    pub fn generate() -> Result<Self, CryptoFailed> {
        Self::from_secret(crypto::random()?)
    }

    /// The data key with these bytes, which must be random.
    ///
    /// # Errors
    ///
    /// If the cryptographic library fails.
    pub fn from_secret(secret: Zeroizing<[u8; SECRET_LEN]>) -> Result<Self, CryptoFailed> {
        let key = crypto::extract(SALT, secret.as_slice());
        let id = KeyId(*crypto::expand(&key, &fields::of(&[b"key id"]))?);
        let commitment = Commitment(*crypto::expand(&key, &fields::of(&[b"commitment"]))?);
        Ok(Self { secret, id, commitment })
    }

    pub fn id(&self) -> KeyId {
        self.id
    }

    pub fn commitment(&self) -> Commitment {
        self.commitment
    }

    /// What wraps hide.
    pub(crate) fn secret(&self) -> &[u8; SECRET_LEN] {
        &self.secret
    }

    /// The AES-256 key of the values of a context, or of one person's values in it.
    pub(crate) fn value_key(
        &self,
        context: &Context,
        subject: Option<&SubjectSecret>,
    ) -> Result<Zeroizing<[u8; 32]>, CryptoFailed> {
        let key = match subject {
            None => crypto::extract(SALT, self.secret.as_slice()),
            Some(subject) => self.mixed_with(subject),
        };
        crypto::expand(&key, &fields::of(&[b"value key", context.as_str().as_bytes()]))
    }

    /// Two secrets, concatenated, as the input of one extraction (NIST SP 800-56C, section 2): the result is
    /// unknown to whoever lacks either.
    fn mixed_with(&self, subject: &SubjectSecret) -> hkdf::Prk {
        let mut both = Zeroizing::new([0; SECRET_LEN * 2]);
        for (to, from) in both.iter_mut().zip(self.secret.iter().chain(subject.expose())) {
            *to = *from;
        }
        crypto::extract(SALT_WITH_SUBJECT, both.as_slice())
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DataKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Which data key: 16 bytes, public, written as 22 characters of Base64 for URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; KeyId::LEN]);

impl KeyId {
    pub(crate) const LEN: usize = 16;
    /// The length of its text.
    pub(crate) const TEXT_LEN: usize = base64url::encoded_len(Self::LEN);

    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&base64url::encode(&self.0))
    }
}

/// The text is not the id of a data key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a data key is 22 characters of Base64 for URLs")]
pub struct KeyIdError;

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        let bytes = base64url::decode(text).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(KeyIdError)
    }
}

/// Fixes the data key without showing it: two data keys with one commitment cannot be found. Public.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Commitment([u8; Commitment::LEN]);

impl Commitment {
    pub(crate) const LEN: usize = 32;

    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> DataKey {
        DataKey::from_secret(Zeroizing::new([byte; 32])).unwrap()
    }

    #[test]
    fn nothing_that_is_derived_from_a_data_key_repeats() {
        let (one, other) = (Context::new("a").unwrap(), Context::new("b").unwrap());
        let subjects = [1, 2].map(|byte| SubjectSecret::from_bytes(Zeroizing::new([byte; 32])));
        let mut derived = Vec::new();
        for key in [key(1), key(2)] {
            derived.push(key.secret().to_vec());
            derived.push(key.commitment().as_bytes().to_vec());
            for context in [&one, &other] {
                for subject in [None, Some(&subjects[0]), Some(&subjects[1])] {
                    derived.push(key.value_key(context, subject).unwrap().to_vec());
                }
            }
        }
        let count = derived.len();
        derived.sort();
        derived.dedup();
        assert_eq!(derived.len(), count);
        assert_ne!(key(1).id(), key(2).id());
    }

    #[test]
    fn debug_shows_the_id_and_nothing_secret() {
        let shown = format!("{:?}", key(0x41));
        assert_eq!(shown, format!("DataKey {{ id: {:?}, .. }}", key(0x41).id()));
        assert!(!shown.contains("65, 65"), "{shown}");
    }

    #[test]
    fn an_id_has_one_spelling() {
        let id = key(3).id();
        assert_eq!(id.to_string().parse(), Ok(id));
        for refused in
            ["", "AAAA", "AAAAAAAAAAAAAAAAAAAAAB", "AAAAAAAAAAAAAAAAAAAAAA=", "AAAAAAAAAAAAAAAAAAAAAA "]
        {
            assert_eq!(refused.parse::<KeyId>(), Err(KeyIdError), "{refused:?}");
        }
    }
}
