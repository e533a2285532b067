//! Wrapping: what a program that seals does with public keys.

use hpke::kem::{X25519HkdfSha256, XWing};
use zeroize::Zeroizing;

use super::hpke::{Randomness, seal};
use super::{Wrap, digest, rsa};
use crate::crypto::CryptoFailed;
use crate::data_key::{DataKey, SECRET_LEN};
use crate::keys::{Key, PublicKey};

/// A data key was not wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrapError {
    #[error("the public key of the recipient is not usable")]
    Unusable,
    #[error(transparent)]
    Crypto(#[from] CryptoFailed),
}

impl PublicKey {
    /// Encrypts a data key to this recipient.
    ///
    /// # Errors
    ///
    /// If the system has no random bytes, or the key is not usable.
    pub fn wrap(&self, data_key: &DataKey) -> Result<Wrap, WrapError> {
        wrap_with(self, data_key.secret(), data_key, Randomness::draw()?)
    }
}

/// Wraps `secret` under the name of `data_key`, with randomness that the caller answers for. RSA does not
/// take it.
pub(crate) fn wrap_with(
    to: &PublicKey,
    secret: &[u8; SECRET_LEN],
    data_key: &DataKey,
    randomness: Randomness,
) -> Result<Wrap, WrapError> {
    let (suite, recipient) = (to.suite(), to.recipient().clone());
    let (key_id, commitment) = (data_key.id(), data_key.commitment());
    let info = Wrap::info(suite, &recipient, key_id, commitment);
    let ciphertext = match &to.key {
        Key::XWing(key) => seal::<XWing>(key, &info, secret, randomness).ok(),
        Key::X25519(key) => seal::<X25519HkdfSha256>(key, &info, secret, randomness).ok(),
        Key::Rsa(key) => {
            let plaintext = Zeroizing::new([*secret, digest(&info)].concat());
            rsa::seal(key, &plaintext).ok()
        }
    };
    let ciphertext = ciphertext.ok_or(WrapError::Unusable)?;
    Ok(Wrap { suite, recipient, key_id, commitment, ciphertext })
}
