//! Sealing: a data key with a lifetime, nonces that do not repeat, one sealer for each context.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::crypto::{self, CryptoFailed};
use crate::data_key::DataKey;
use crate::subject::SubjectSecret;
use crate::value::{self, Clear, Form, MAX_VALUE_LEN, NONCE_LEN, Padding, TAG_LEN, ValueKey};
use crate::{Context, base64url};

/// The longest text that a value is bound to, in bytes: 1 MiB.
pub const MAX_BOUND_LEN: usize = 1 << 20;

/// How long one data key serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long [`SealingKey::is_due`] says no.
    pub lifetime: Duration,
    /// How many values it seals. More than 2^32 count as 2^32.
    pub values: u64,
}

impl Default for Limits {
    /// An hour, and 2^32 values.
    fn default() -> Self {
        Self { lifetime: Duration::from_hours(1), values: NonceSequence::MOST }
    }
}

/// A data key in the program that seals with it. One process draws it and no other seals with it.
#[derive(Debug)]
pub struct SealingKey {
    data_key: DataKey,
    nonces: Arc<NonceSequence>,
    drawn: Instant,
    limits: Limits,
}

impl SealingKey {
    /// Draws a data key from the operating system.
    ///
    /// # Errors
    ///
    /// If the system has no random bytes.
    pub fn generate(limits: Limits) -> Result<Self, CryptoFailed> {
        let nonces = Arc::new(NonceSequence::new(*crypto::random()?, limits.values));
        Ok(Self { data_key: DataKey::generate()?, nonces, drawn: Instant::now(), limits })
    }

    /// Seals with a data key and nonces that the caller answers for.
    #[cfg(test)]
    pub(crate) fn of(data_key: DataKey) -> Self {
        let nonces = Arc::new(NonceSequence::new([0; 8], NonceSequence::MOST));
        Self { data_key, nonces, drawn: Instant::now(), limits: Limits::default() }
    }

    /// The data key, to wrap it for recipients. Wraps must be stored no later than the first value.
    pub fn data_key(&self) -> &DataKey {
        &self.data_key
    }

    /// Whether its lifetime is over or its values are used up: draw another one. Work that has begun with
    /// this key may end with it; only the number of values is a hard limit. The clock is monotonic.
    pub fn is_due(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.drawn) >= self.limits.lifetime || self.nonces.is_used_up()
    }

    /// Seals values of a context.
    ///
    /// # Errors
    ///
    /// If the cryptographic library fails.
    pub fn sealer(&self, context: &Context, padding: Padding) -> Result<Sealer, CryptoFailed> {
        self.sealer_of(context, padding, None)
    }

    /// Seals values of a context so that they open only with the secret of a person.
    ///
    /// # Errors
    ///
    /// If the cryptographic library fails.
    pub fn erasable_sealer(
        &self,
        context: &Context,
        padding: Padding,
        subject: &SubjectSecret,
    ) -> Result<Sealer, CryptoFailed> {
        self.sealer_of(context, padding, Some(subject))
    }

    fn sealer_of(
        &self,
        context: &Context,
        padding: Padding,
        subject: Option<&SubjectSecret>,
    ) -> Result<Sealer, CryptoFailed> {
        let key = ValueKey::derive(&self.data_key, context, subject)?;
        let form = if subject.is_some() { Form::Erasable } else { Form::Plain };
        let prefix = value::prefix(form, self.data_key.id());
        Ok(Sealer { key, prefix, padding, nonces: self.nonces.clone() })
    }
}

/// Seals the values of one context. Threads may share it.
pub struct Sealer {
    key: ValueKey,
    prefix: String,
    padding: Padding,
    nonces: Arc<NonceSequence>,
}

/// A value was not sealed. No variant contains the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("the value is longer than 1 MiB")]
    TooLong,
    #[error("the text to bind the value to is longer than 1 MiB")]
    BoundTooLong,
    #[error("the value is not a number as JSON writes it")]
    NotANumber,
    #[error("the data key has sealed all the values that it may: another one is needed")]
    UsedUp,
    #[error(transparent)]
    Crypto(#[from] CryptoFailed),
}

impl Sealer {
    /// The encrypted value as a text. With `bound`, it opens only when the same text is given again: the
    /// value of another column of its row, so that it cannot be moved to another row. No text differs from an
    /// empty one.
    ///
    /// # Errors
    ///
    /// If the value or `bound` is too long, a number is not one, or the data key is used up.
    pub fn seal(&self, value: Clear<'_>, bound: Option<&str>) -> Result<String, SealError> {
        check(value, bound)?;
        self.seal_with_nonce(self.nonces.next()?, value, bound)
    }

    /// Seals with a nonce that the caller answers for.
    pub(crate) fn seal_with_nonce(
        &self,
        nonce: [u8; NONCE_LEN],
        value: Clear<'_>,
        bound: Option<&str>,
    ) -> Result<String, SealError> {
        let plaintext = value::encoded_len(value.as_str(), self.padding);
        let mut payload = Vec::with_capacity(NONCE_LEN + plaintext + TAG_LEN);
        payload.extend_from_slice(&nonce);
        value::push(&mut payload, value, self.padding);
        let in_out = payload.get_mut(NONCE_LEN..).unwrap_or_default();
        let tag = self.key.seal(nonce, bound, in_out)?;
        payload.extend_from_slice(&tag);
        let mut text = String::with_capacity(self.prefix.len() + base64url::encoded_len(payload.len()));
        text.push_str(&self.prefix);
        base64url::push(&mut text, &payload);
        Ok(text)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sealer").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

fn check(value: Clear<'_>, bound: Option<&str>) -> Result<(), SealError> {
    if value.as_str().len() > MAX_VALUE_LEN {
        return Err(SealError::TooLong);
    }
    if bound.is_some_and(|bound| bound.len() > MAX_BOUND_LEN) {
        return Err(SealError::BoundTooLong);
    }
    match value {
        Clear::Number(number) if !value::is_number(number) => Err(SealError::NotANumber),
        _ => Ok(()),
    }
}

/// The nonces of a data key: eight random bytes, and a counter of four.
#[derive(Debug)]
struct NonceSequence {
    prefix: [u8; 8],
    used: AtomicU64,
    most: u64,
}

impl NonceSequence {
    /// How many nonces a counter of four bytes gives.
    const MOST: u64 = 1 << 32;

    fn new(prefix: [u8; 8], most: u64) -> Self {
        Self { prefix, used: AtomicU64::new(0), most: most.min(Self::MOST) }
    }

    fn next(&self) -> Result<[u8; NONCE_LEN], SealError> {
        let number = self.used.fetch_add(1, Relaxed);
        if number >= self.most {
            return Err(SealError::UsedUp);
        }
        let counter = u32::try_from(number).map_err(|_| SealError::UsedUp)?;
        let mut nonce = [0; NONCE_LEN];
        for (to, from) in nonce.iter_mut().zip(self.prefix.into_iter().chain(counter.to_be_bytes())) {
            *to = from;
        }
        Ok(nonce)
    }

    fn is_used_up(&self) -> bool {
        self.used.load(Relaxed) >= self.most
    }
}

#[cfg(test)]
mod tests;
