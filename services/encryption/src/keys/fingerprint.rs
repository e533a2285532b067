//! A short digest of a public key, to compare two copies of it by telephone.

use std::fmt;

use super::Suite;
use crate::{crypto, fields};

/// The first 128 bits of a digest of a public key and its suite, shown as eight groups of four hexadecimal
/// digits. The id of the recipient is not a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    pub(crate) fn of(suite: Suite, key: &[u8]) -> Self {
        let digest = crypto::sha256(&fields::of(&[b"veilpost public key 1", suite.name().as_bytes(), key]));
        Self(digest.first_chunk().copied().unwrap_or_default())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u128::from_be_bytes(self.0);
        for group in (0..8).rev() {
            let separator = if group == 7 { "" } else { " " };
            write!(formatter, "{separator}{:04x}", (value >> (group * 16)) & 0xffff)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_eight_groups_of_four_digits() {
        let bytes = [0, 1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0, 0, 0, 0, 0, 0, 0xff];
        assert_eq!(Fingerprint(bytes).to_string(), "0001 2345 6789 abcd ef00 0000 0000 00ff");
    }

    #[test]
    fn the_suite_is_a_part_of_it() {
        assert_ne!(Fingerprint::of(Suite::X25519, b"key"), Fingerprint::of(Suite::XWing, b"key"));
    }
}
