//! Opening values with data keys that were unwrapped.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use crate::Context;
use crate::crypto::CryptoFailed;
use crate::data_key::{DataKey, KeyId};
use crate::subject::SubjectSecret;
use crate::value::{Form, Opened, PlaintextError, SealedValue, ValueError, ValueKey};

/// The data keys that values are opened with.
#[derive(Debug, Default)]
pub struct Opener {
    keys: HashMap<KeyId, DataKey>,
}

/// A value was not opened. No variant contains the value or a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Value(#[from] ValueError),
    #[error("no data key {0}: its wrap is missing, or none of the private keys opened it")]
    UnknownKey(KeyId),
    #[error("the secret of this value's person is needed; where it was erased, the value is gone")]
    SubjectNeeded,
    /// Cryptography cannot tell these apart.
    #[error(
        "not authentic: the value was changed, or belongs to another context, or to another row than it was \
         bound to, or to another person"
    )]
    Refused,
    /// It is authentic.
    #[error("of a kind that this version does not know")]
    UnknownKind,
    /// It is authentic, but nothing that follows the format has sealed it.
    #[error("sealed against the format: its padding is malformed, or its text is not of its kind")]
    Malformed,
    #[error(transparent)]
    Crypto(#[from] CryptoFailed),
}

impl From<PlaintextError> for OpenError {
    fn from(error: PlaintextError) -> Self {
        match error {
            PlaintextError::UnknownKind => Self::UnknownKind,
            PlaintextError::Empty | PlaintextError::Padding | PlaintextError::NotOfItsKind => Self::Malformed,
        }
    }
}

impl Opener {
    /// Adds a data key that a private key has unwrapped.
    pub fn add(&mut self, key: DataKey) {
        self.keys.insert(key.id(), key);
    }

    pub fn has(&self, key: KeyId) -> bool {
        self.keys.contains_key(&key)
    }

    /// Opens values of a context. It remembers the keys of the context, so use one for many values.
    pub fn context(&self, context: &Context) -> ContextOpener<'_> {
        ContextOpener { opener: self, context: context.clone(), ready: HashMap::new() }
    }
}

/// Opens the values of one context.
pub struct ContextOpener<'a> {
    opener: &'a Opener,
    context: Context,
    ready: HashMap<KeyId, ValueKey>,
}

impl ContextOpener<'_> {
    /// Opens a value. `bound` is the text that it was bound to. `subject` is the secret of the person whose
    /// value it is, if there is one; a value that needs none ignores it.
    ///
    /// # Errors
    ///
    /// If the text is not a value, its data key is not there, or the value is not what was sealed.
    pub fn open(
        &mut self,
        text: &str,
        bound: Option<&str>,
        subject: Option<&SubjectSecret>,
    ) -> Result<Opened, OpenError> {
        let value = SealedValue::parse(text)?;
        let opener = self.opener;
        let data_key = opener.keys.get(&value.key).ok_or(OpenError::UnknownKey(value.key))?;
        let plaintext = match value.form {
            Form::Plain => self.key(data_key)?.open(&value.payload, bound),
            Form::Erasable => {
                let subject = subject.ok_or(OpenError::SubjectNeeded)?;
                ValueKey::derive(data_key, &self.context, Some(subject))?.open(&value.payload, bound)
            }
        };
        Ok(Opened::read(plaintext.ok_or(OpenError::Refused)?)?)
    }

    fn key(&mut self, data_key: &DataKey) -> Result<&ValueKey, CryptoFailed> {
        Ok(match self.ready.entry(data_key.id()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(ValueKey::derive(data_key, &self.context, None)?),
        })
    }
}

impl fmt::Debug for ContextOpener<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ContextOpener").field("context", &self.context).finish_non_exhaustive()
    }
}
