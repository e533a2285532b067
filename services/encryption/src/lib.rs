//! Values that are encrypted to public keys: what is sealed here opens only with a private key that the
//! sealing program never holds.
//!
//! A program that seals draws a [`SealingKey`], a data key of 32 random bytes, for an hour or 2^32 values. It
//! wraps the data key for each recipient's [`PublicKey`] and stores the [`Wrap`]s beside the values. Whoever
//! has one [`PrivateKey`] unwraps the data key and opens the values.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use veilpost_encryption::{Clear, Context, Limits, Opener, Padding, PrivateKey, SealingKey, Suite, Wrap};
//!
//! // The owner of the data makes a key pair, and hands out the public half.
//! let private = PrivateKey::generate(Suite::XWing, "recovery-2026".parse()?)?;
//! let public = private.public_key()?;
//!
//! // The pipeline seals. A value opens only in its context, and only with the text that it is bound to.
//! let context = Context::new("user_logins/ip")?;
//! let key = SealingKey::generate(Limits::default())?;
//! let wrap = public.wrap(key.data_key())?.to_bytes();
//! let sealer = key.sealer(&context, Padding::to_multiple_of(32)?)?;
//! let text = sealer.seal(Clear::Text("203.0.113.7"), Some("message 4711"))?;
//! assert!(text.starts_with("ve1."));
//!
//! // The owner opens.
//! let mut opener = Opener::default();
//! opener.add(private.unwrap_key(&Wrap::from_bytes(&wrap)?)?);
//! let opened = opener.context(&context).open(&text, Some("message 4711"), None)?;
//! assert!(opened.as_clear() == Clear::Text("203.0.113.7"));
//! # Ok(())
//! # }
//! ```
//!
//! `docs/encryption-format.md` in the repository describes every byte, and what the format does not hide.
//! Errors name what is wrong and never contain a value, a key or a part of either.

mod base64url;
mod context;
mod crypto;
mod data_key;
mod fields;
pub mod fuzzing;
mod keys;
mod opener;
mod sealing;
mod subject;
mod value;
mod wrap;

pub use context::{Context, ContextError};
pub use crypto::CryptoFailed;
pub use data_key::{Commitment, DataKey, KeyId, KeyIdError};
pub use keys::{
    Fingerprint, KeyError, PrivateKey, PublicKey, RecipientId, RecipientIdError, Suite, UnknownSuite,
    write_private_key,
};
pub use opener::{ContextOpener, OpenError, Opener};
pub use sealing::{Limits, MAX_BOUND_LEN, SealError, Sealer, SealingKey};
pub use subject::SubjectSecret;
pub use value::{
    Clear, Kind, MAX_PADDING, MAX_TEXT_LEN, MAX_VALUE_LEN, Opened, Padding, PaddingTooLarge, SealedValue,
    ValueError,
};
pub use wrap::{MAX_WRAP_LEN, UnwrapError, Wrap, WrapBytesError, WrapError};

#[cfg(test)]
mod documented;
#[cfg(test)]
mod published;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
