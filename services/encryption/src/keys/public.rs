//! The public half of a key pair: what a program that seals has.

use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::PublicEncryptingKey;
use hpke::kem::{X25519HkdfSha256, XWing};
use hpke::{Deserializable, Kem};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;

use super::line::{self, Half, Line};
use super::{Fingerprint, KeyError, RecipientId, Suite};
use crate::wrap::hpke as hpke_wrap;

/// The public key of a recipient. It wraps data keys, and opens nothing.
#[derive(Clone)]
pub struct PublicKey {
    recipient: RecipientId,
    /// As it stands in its line: 1216 bytes for X-Wing, 32 for X25519, SubjectPublicKeyInfo in DER for RSA.
    bytes: Vec<u8>,
    pub(crate) key: Key,
}

#[derive(Clone)]
pub(crate) enum Key {
    XWing(Box<<XWing as Kem>::PublicKey>),
    X25519(<X25519HkdfSha256 as Kem>::PublicKey),
    Rsa(PublicEncryptingKey),
}

impl PublicKey {
    /// Reads a key from its text: one line, among comments (`#`) and empty lines.
    ///
    /// # Errors
    ///
    /// If the text is not exactly one public key. A private key is refused by a variant of its own.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let line = Line::parse(text, Half::Public)?;
        let key = Self::of_bytes(line.suite, line.recipient, &line.key)?;
        if key.bytes == *line.key { Ok(key) } else { Err(KeyError::Unusable) }
    }

    /// Reads an RSA key from a PEM file of type `PUBLIC KEY` (RFC 7468, section 13), as AWS KMS and OpenSSL
    /// write it.
    ///
    /// # Errors
    ///
    /// If the text has no RSA key of 2048 to 8192 bits.
    pub fn from_rsa_pem(recipient: RecipientId, pem: &str) -> Result<Self, KeyError> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::NotRsa)?;
        Self::of_bytes(Suite::RsaOaep256, recipient, &der).map_err(|_| KeyError::NotRsa)
    }

    pub(crate) fn of_bytes(suite: Suite, recipient: RecipientId, bytes: &[u8]) -> Result<Self, KeyError> {
        let (key, bytes) = match suite {
            Suite::XWing => (Key::XWing(Box::new(of_kem::<XWing>(bytes)?)), bytes.to_vec()),
            Suite::X25519 => (Key::X25519(x25519(bytes)?), bytes.to_vec()),
            Suite::RsaOaep256 => {
                let key = PublicEncryptingKey::from_der(bytes)?;
                let bytes = AsDer::as_der(&key)?.as_ref().to_vec();
                (Key::Rsa(key), bytes)
            }
        };
        Ok(Self { recipient, bytes, key })
    }

    pub fn recipient(&self) -> &RecipientId {
        &self.recipient
    }

    pub fn suite(&self) -> Suite {
        match self.key {
            Key::XWing(_) => Suite::XWing,
            Key::X25519(_) => Suite::X25519,
            Key::Rsa(_) => Suite::RsaOaep256,
        }
    }

    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.suite(), &self.bytes)
    }
}

/// The line that [`PublicKey::parse`] reads, without a line break.
impl fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&line::write(Half::Public, self.suite(), &self.recipient, &self.bytes))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fingerprint = self.fingerprint().to_string();
        formatter
            .debug_struct("PublicKey")
            .field("recipient", &self.recipient)
            .field("suite", &self.suite())
            .field("fingerprint", &fingerprint)
            .finish_non_exhaustive()
    }
}

fn of_kem<K: Kem>(bytes: &[u8]) -> Result<K::PublicKey, KeyError> {
    K::PublicKey::from_bytes(bytes).map_err(|_| KeyError::Unusable)
}

/// A point of low order gives everybody the same secret. The library notices that when it wraps; it is better
/// noticed when the key is read.
fn x25519(bytes: &[u8]) -> Result<<X25519HkdfSha256 as Kem>::PublicKey, KeyError> {
    let key = of_kem::<X25519HkdfSha256>(bytes)?;
    let tried = hpke_wrap::seal::<X25519HkdfSha256>(&key, b"", b"", hpke_wrap::Randomness::draw()?);
    tried.map(|_| key).map_err(|_| KeyError::Unusable)
}
