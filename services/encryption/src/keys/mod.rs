//! Public and private keys of recipients: their ids, suites, texts and files.

mod file;
mod fingerprint;
mod line;
mod private;
mod public;
mod recipient;
mod suite;

pub use file::write_private_key;
pub use fingerprint::Fingerprint;
pub use line::KeyError;
pub use private::PrivateKey;
pub(crate) use private::Secret;
pub(crate) use public::Key;
pub use public::PublicKey;
pub use recipient::{RecipientId, RecipientIdError};
pub use suite::{Suite, UnknownSuite};

#[cfg(test)]
mod tests;
