//! Unwrapping: what the owner of the data does with a private key.

use hpke::kem::{X25519HkdfSha256, XWing};
use zeroize::Zeroizing;

use super::hpke::open;
use super::{Wrap, digest, rsa};
use crate::crypto::{self, CryptoFailed};
use crate::data_key::{DataKey, SECRET_LEN};
use crate::keys::{PrivateKey, RecipientId, Secret, Suite};

/// A data key was not unwrapped. No variant contains a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    #[error("wrapped for {wrap}, and this is the private key of {key}")]
    OtherRecipient { wrap: RecipientId, key: RecipientId },
    #[error("wrapped with {wrap}, and this private key is one for {key}")]
    OtherSuite { wrap: Suite, key: Suite },
    /// Cryptography cannot tell these apart.
    #[error(
        "not unwrapped: this is another private key with the recipient's id, or the wrap was changed or belongs \
         to another data key"
    )]
    Refused,
    /// The wrap is authentic, and whoever made it put another data key in.
    #[error("the wrap holds another data key than it says")]
    OtherKey,
    #[error(transparent)]
    Crypto(#[from] CryptoFailed),
}

impl PrivateKey {
    /// Decrypts a data key, and checks that it is the one that the wrap names.
    ///
    /// # Errors
    ///
    /// If the wrap is for another key, was changed, or holds another data key than it says.
    pub fn unwrap_key(&self, wrap: &Wrap) -> Result<DataKey, UnwrapError> {
        if wrap.recipient() != self.recipient() {
            let (wrap, key) = (wrap.recipient().clone(), self.recipient().clone());
            return Err(UnwrapError::OtherRecipient { wrap, key });
        }
        if wrap.suite() != self.suite() {
            return Err(UnwrapError::OtherSuite { wrap: wrap.suite(), key: self.suite() });
        }
        let opened = match &self.secret {
            Secret::XWing(key) => open::<XWing>(key, &wrap.own_info(), wrap.ciphertext()).ok(),
            Secret::X25519(key) => open::<X25519HkdfSha256>(key, &wrap.own_info(), wrap.ciphertext()).ok(),
            Secret::Rsa(key) => {
                let opened = rsa::open(key, wrap.ciphertext()).map_err(|_| UnwrapError::Refused)?;
                return wrap.data_key_from_rsa(&opened);
            }
        };
        wrap.checked(&opened.ok_or(UnwrapError::Refused)?)
    }
}

impl Wrap {
    /// The data key, from what an RSA private key has decrypted [`Wrap::ciphertext`] to: `Decrypt` of AWS KMS
    /// with `RSAES_OAEP_SHA_256`, or an HSM.
    ///
    /// # Errors
    ///
    /// If the plaintext is not that of this wrap, or the wrap is of another suite.
    pub fn data_key_from_rsa(&self, plaintext: &[u8]) -> Result<DataKey, UnwrapError> {
        if self.suite != Suite::RsaOaep256 {
            return Err(UnwrapError::OtherSuite { wrap: self.suite, key: Suite::RsaOaep256 });
        }
        let (secret, bound_to) = plaintext.split_at_checked(SECRET_LEN).ok_or(UnwrapError::Refused)?;
        if !crypto::equal(bound_to, &digest(&self.own_info())) {
            return Err(UnwrapError::Refused);
        }
        self.checked(secret)
    }

    fn checked(&self, secret: &[u8]) -> Result<DataKey, UnwrapError> {
        let secret = secret.try_into().map(Zeroizing::new).map_err(|_| UnwrapError::OtherKey)?;
        let data_key = DataKey::from_secret(secret)?;
        let same = data_key.id() == self.key_id && data_key.commitment() == self.commitment;
        same.then_some(data_key).ok_or(UnwrapError::OtherKey)
    }
}
