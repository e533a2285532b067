//! The few calls to the cryptographic library: random bytes, HKDF-SHA-256, SHA-256, comparing.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, error, hkdf};
use zeroize::Zeroizing;

/// The cryptographic library or the system's source of random bytes failed. No input does that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cryptographic library or the system's source of random bytes failed")]
pub struct CryptoFailed;

impl From<error::Unspecified> for CryptoFailed {
    fn from(_: error::Unspecified) -> Self {
        Self
    }
}

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, CryptoFailed> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|_| CryptoFailed)?;
    Ok(bytes)
}

/// HKDF-Extract with SHA-256 (RFC 5869, section 2.2).
pub(crate) fn extract(salt: &[u8], secret: &[u8]) -> hkdf::Prk {
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret)
}

/// HKDF-Expand with SHA-256 (RFC 5869, section 2.3).
pub(crate) fn expand<const N: usize>(
    key: &hkdf::Prk,
    info: &[u8],
) -> Result<Zeroizing<[u8; N]>, CryptoFailed> {
    let mut out = Zeroizing::new([0; N]);
    key.expand(&[info], Length(N))?.fill(out.as_mut_slice())?;
    Ok(out)
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// Whether two byte strings are equal, in a time that does not depend on where they differ.
pub(crate) fn equal(one: &[u8], other: &[u8]) -> bool {
    verify_slices_are_equal(one, other).is_ok()
}
