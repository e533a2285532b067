//! An encrypted value: its text, its plaintext, its key.

mod key;
mod plaintext;
mod text;

pub(crate) use key::{NONCE_LEN, ValueKey};
pub use plaintext::{Clear, Kind, MAX_PADDING, MAX_VALUE_LEN, Opened, Padding, PaddingTooLarge};
pub(crate) use plaintext::{PlaintextError, encoded_len, is_number, push};
pub(crate) use text::{Form, prefix};
pub use text::{MAX_TEXT_LEN, SealedValue, ValueError};

/// The length of AES-GCM-SIV's tag, in bytes.
pub(crate) const TAG_LEN: usize = 16;
