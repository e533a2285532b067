//! The private half of a key pair: what the owner of the data has, and no program that seals.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use hpke::kem::{X25519HkdfSha256, XWing};
use hpke::{Deserializable, Kem, Serializable};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use zeroize::Zeroizing;

use super::line::{self, Half, Line};
use super::{KeyError, PublicKey, RecipientId, Suite};
use crate::crypto;

/// The private key of a recipient. It is wiped from memory when dropped, and `Debug` shows nothing of it.
pub struct PrivateKey {
    recipient: RecipientId,
    /// As it stands in its line: a seed of 32 bytes for X-Wing, 32 bytes for X25519, PKCS #8 in DER for RSA.
    bytes: Zeroizing<Vec<u8>>,
    pub(crate) secret: Secret,
}

pub(crate) enum Secret {
    XWing(Box<<XWing as Kem>::PrivateKey>),
    X25519(<X25519HkdfSha256 as Kem>::PrivateKey),
    Rsa(PrivateDecryptingKey),
}

impl PrivateKey {
    /// Makes a key pair from the operating system's random bytes. RSA keys have 3072 bits; that takes a
    /// second.
    ///
    /// # Errors
    ///
    /// If the system has no random bytes.
    pub fn generate(suite: Suite, recipient: RecipientId) -> Result<Self, KeyError> {
        if suite == Suite::RsaOaep256 {
            let key = PrivateDecryptingKey::generate(KeySize::Rsa3072)?;
            let der: Pkcs8V1Der<'_> = key.as_der()?;
            return Self::of_bytes(suite, recipient, Zeroizing::new(der.as_ref().to_vec()));
        }
        Self::of_bytes(suite, recipient, Zeroizing::new(crypto::random::<32>()?.to_vec()))
    }

    /// Reads a key from its text: one line, among comments (`#`) and empty lines.
    ///
    /// # Errors
    ///
    /// If the text is not exactly one private key.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let line = Line::parse(text, Half::Private)?;
        Self::of_bytes(line.suite, line.recipient, line.key)
    }

    /// Reads an RSA key from a PEM file of type `PRIVATE KEY` (PKCS #8, not encrypted).
    ///
    /// # Errors
    ///
    /// If the text has no RSA key of 2048 to 8192 bits.
    pub fn from_rsa_pem(recipient: RecipientId, pem: &str) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::NotRsa)?;
        let bytes = Zeroizing::new(der.secret_pkcs8_der().to_vec());
        Self::of_bytes(Suite::RsaOaep256, recipient, bytes).map_err(|_| KeyError::NotRsa)
    }

    fn of_bytes(suite: Suite, recipient: RecipientId, bytes: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        let secret = match suite {
            Suite::XWing => Secret::XWing(Box::new(of_kem::<XWing>(&bytes)?)),
            Suite::X25519 => Secret::X25519(of_kem::<X25519HkdfSha256>(&bytes)?),
            Suite::RsaOaep256 => Secret::Rsa(PrivateDecryptingKey::from_pkcs8(&bytes)?),
        };
        Ok(Self { recipient, bytes, secret })
    }

    pub fn recipient(&self) -> &RecipientId {
        &self.recipient
    }

    pub fn suite(&self) -> Suite {
        match self.secret {
            Secret::XWing(_) => Suite::XWing,
            Secret::X25519(_) => Suite::X25519,
            Secret::Rsa(_) => Suite::RsaOaep256,
        }
    }

    /// # Errors
    ///
    /// If the cryptographic library fails.
    pub fn public_key(&self) -> Result<PublicKey, KeyError> {
        let bytes = match &self.secret {
            Secret::XWing(key) => XWing::sk_to_pk(key).to_bytes().to_vec(),
            Secret::X25519(key) => X25519HkdfSha256::sk_to_pk(key).to_bytes().to_vec(),
            Secret::Rsa(key) => AsDer::as_der(&key.public_key())?.as_ref().to_vec(),
        };
        PublicKey::of_bytes(self.suite(), self.recipient.clone(), &bytes)
    }

    /// The line that [`PrivateKey::parse`] reads, without a line break. Whoever has it opens every value.
    pub fn expose_text(&self) -> Zeroizing<String> {
        line::write(Half::Private, self.suite(), &self.recipient, &self.bytes)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PrivateKey")
            .field("recipient", &self.recipient)
            .field("suite", &self.suite())
            .finish_non_exhaustive()
    }
}

fn of_kem<K: Kem>(bytes: &[u8]) -> Result<K::PrivateKey, KeyError> {
    K::PrivateKey::from_bytes(bytes).map_err(|_| KeyError::Unusable)
}
