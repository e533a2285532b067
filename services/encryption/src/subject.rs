//! A secret of one person, without which nobody opens that person's values.

use std::fmt;

use zeroize::Zeroizing;

use crate::crypto::{self, CryptoFailed};

/// 32 random bytes that are mixed into the key of the values of one person. Once every copy of it is erased,
/// no data key and no private key opens these values any more.
#[derive(Clone)]
pub struct SubjectSecret(Zeroizing<[u8; 32]>);

impl SubjectSecret {
    /// Draws a secret from the operating system.
    ///
    /// # Errors
    ///
    /// If the system has no random bytes.
    pub fn generate() -> Result<Self, CryptoFailed> {
        crypto::random().map(Self)
    }

    pub fn from_bytes(secret: Zeroizing<[u8; 32]>) -> Self {
        Self(secret)
    }

    /// The secret's bytes, to be stored where they can be erased.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SubjectSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SubjectSecret")
    }
}
