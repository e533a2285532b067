//! How data keys are wrapped.

use std::fmt;
use std::str::FromStr;

/// How data keys are wrapped for a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suite {
    /// HPKE with X-Wing, which is X25519 together with ML-KEM-768: safe while either is.
    XWing,
    /// HPKE with X25519. A quantum computer would break it.
    X25519,
    /// RSA-OAEP with SHA-256, for private keys in AWS KMS or an HSM. A quantum computer would break it.
    RsaOaep256,
}

/// No suite has this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a suite is one of x-wing, x25519, rsa-oaep-256")]
pub struct UnknownSuite;

impl Suite {
    pub const ALL: [Self; 3] = [Self::XWing, Self::X25519, Self::RsaOaep256];

    pub const fn name(self) -> &'static str {
        match self {
            Self::XWing => "x-wing",
            Self::X25519 => "x25519",
            Self::RsaOaep256 => "rsa-oaep-256",
        }
    }

    /// The byte that stands for it in a wrap. Numbers are never reused.
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::XWing => 1,
            Self::X25519 => 2,
            Self::RsaOaep256 => 3,
        }
    }

    pub(crate) fn of_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.byte() == byte)
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Suite {
    type Err = UnknownSuite;

    fn from_str(text: &str) -> Result<Self, UnknownSuite> {
        Self::ALL.into_iter().find(|suite| suite.name() == text).ok_or(UnknownSuite)
    }
}
