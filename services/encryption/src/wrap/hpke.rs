//! HPKE (RFC 9180) in base mode, in one shot: HKDF-SHA256 and ChaCha20-Poly1305, with any KEM.

use std::convert::Infallible;

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::rand_core::{TryCryptoRng, TryRng, utils};
use hpke::{Deserializable, HpkeError, Kem, OpModeR, OpModeS, Serializable};
use zeroize::Zeroizing;

use crate::crypto::{self, CryptoFailed};

/// The encapsulated key, then the ciphertext with its tag. `info` is authenticated; the associated data is
/// empty.
///
/// # Errors
///
/// If the public key is not usable, or the randomness does not suffice.
pub(crate) fn seal<K: Kem>(
    key: &K::PublicKey,
    info: &[u8],
    plaintext: &[u8],
    mut randomness: Randomness,
) -> Result<Vec<u8>, HpkeError> {
    let sealed = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, K>(
        &OpModeS::Base,
        key,
        info,
        plaintext,
        &[],
        &mut randomness,
    );
    let (encapsulated, ciphertext) = sealed?;
    if randomness.exhausted {
        return Err(HpkeError::EncapError);
    }
    let mut out = encapsulated.to_bytes().to_vec();
    out.extend_from_slice(&ciphertext);
    Ok(out)
}

/// # Errors
///
/// If this is not what [`seal`] made for this key and this `info`.
pub(crate) fn open<K: Kem>(
    key: &K::PrivateKey,
    info: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, HpkeError> {
    let (encapsulated, ciphertext) =
        sealed.split_at_checked(K::EncappedKey::size()).ok_or(HpkeError::OpenError)?;
    let encapsulated = K::EncappedKey::from_bytes(encapsulated)?;
    hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, K>(
        &OpModeR::Base,
        key,
        &encapsulated,
        info,
        ciphertext,
        &[],
    )
    .map(Zeroizing::new)
}

/// Random bytes that are drawn before the library asks for them: it cannot be told that there are none.
pub(crate) struct Randomness {
    bytes: Zeroizing<[u8; Randomness::LEN]>,
    used: usize,
    /// The library asked for more than there was, and got what nobody may use.
    exhausted: bool,
}

impl Randomness {
    /// What an encapsulation with X-Wing needs; X25519 needs half of it.
    const LEN: usize = 64;

    pub(crate) fn draw() -> Result<Self, CryptoFailed> {
        crypto::random().map(Self::of)
    }

    pub(crate) fn of(bytes: Zeroizing<[u8; Self::LEN]>) -> Self {
        Self { bytes, used: 0, exhausted: false }
    }
}

impl TryRng for Randomness {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        utils::next_word_via_fill(self)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        utils::next_word_via_fill(self)
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        match self.bytes.get(self.used..).and_then(|left| left.get(..out.len())) {
            Some(bytes) => out.copy_from_slice(bytes),
            None => self.exhausted = true,
        }
        self.used = self.used.saturating_add(out.len());
        Ok(())
    }
}

impl TryCryptoRng for Randomness {}

#[cfg(test)]
mod tests {
    use hpke::kem::X25519HkdfSha256;

    use super::*;

    #[test]
    fn nothing_is_sealed_with_randomness_that_has_run_out() {
        let (_, public) = X25519HkdfSha256::derive_keypair(&[7; 32]);
        let mut randomness = Randomness::of(Zeroizing::new([9; 64]));
        randomness.used = 33;
        assert_eq!(seal::<X25519HkdfSha256>(&public, b"", b"", randomness), Err(HpkeError::EncapError));
        let randomness = Randomness::of(Zeroizing::new([9; 64]));
        assert!(seal::<X25519HkdfSha256>(&public, b"", b"", randomness).is_ok());
    }
}
