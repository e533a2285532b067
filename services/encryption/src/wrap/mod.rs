//! A data key, encrypted to one recipient.

mod bytes;
pub(crate) mod hpke;
mod open;
pub(crate) mod rsa;
mod seal;

pub use bytes::{MAX_WRAP_LEN, WrapBytesError};
pub use open::UnwrapError;
pub use seal::WrapError;
#[cfg(test)]
pub(crate) use seal::wrap_with;

use crate::data_key::{Commitment, KeyId};
use crate::keys::{RecipientId, Suite};
use crate::{crypto, fields};

/// A data key, encrypted to one recipient. It is not secret. Its bytes are what is stored beside the values;
/// the id of the data key and the recipient are in them, so that they can be columns too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrap {
    suite: Suite,
    recipient: RecipientId,
    key_id: KeyId,
    commitment: Commitment,
    ciphertext: Vec<u8>,
}

impl Wrap {
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Whose private key opens it.
    pub fn recipient(&self) -> &RecipientId {
        &self.recipient
    }

    /// Which data key it holds.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The commitment to the data key. All wraps of a data key have the same one; where they differ, somebody
    /// wants to show recipients different values.
    pub fn commitment(&self) -> Commitment {
        self.commitment
    }

    /// What the recipient's private key decrypts. For RSA-OAEP-256 that may be a key in AWS KMS or an HSM;
    /// give what it returns to [`Wrap::data_key_from_rsa`].
    pub fn ciphertext(&self) -> &[u8] {
        &self.ciphertext
    }

    /// Everything that a wrap is for. HPKE authenticates it; RSA encrypts its digest.
    fn info(suite: Suite, recipient: &RecipientId, key_id: KeyId, commitment: Commitment) -> Vec<u8> {
        fields::of(&[
            b"veilpost wrap 1",
            suite.name().as_bytes(),
            recipient.as_str().as_bytes(),
            key_id.as_bytes(),
            commitment.as_bytes(),
        ])
    }

    fn own_info(&self) -> Vec<u8> {
        Self::info(self.suite, &self.recipient, self.key_id, self.commitment)
    }
}

/// What RSA encrypts beside the data key, because RSA-OAEP in AWS KMS has no label.
fn digest(info: &[u8]) -> [u8; 32] {
    crypto::sha256(info)
}

#[cfg(test)]
mod tests;
