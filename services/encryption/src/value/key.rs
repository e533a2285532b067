//! The key of the values of one context: AES-256-GCM-SIV (RFC 8452), and what it authenticates.

use std::borrow::Cow;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN as AEAD_NONCE_LEN, Nonce, UnboundKey};

use super::{Form, TAG_LEN};
use crate::Context;
use crate::crypto::CryptoFailed;
use crate::data_key::DataKey;
use crate::fields;
use crate::subject::SubjectSecret;

/// The length of a nonce, in bytes.
pub(crate) const NONCE_LEN: usize = AEAD_NONCE_LEN;

pub(crate) struct ValueKey {
    key: LessSafeKey,
    /// What is authenticated with every value: form, context, commitment.
    common: Vec<u8>,
    /// The same for a value that is bound to nothing.
    unbound: Vec<u8>,
}

impl ValueKey {
    pub(crate) fn derive(
        data_key: &DataKey,
        context: &Context,
        subject: Option<&SubjectSecret>,
    ) -> Result<Self, CryptoFailed> {
        let secret = data_key.value_key(context, subject)?;
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, secret.as_slice())?);
        let form = if subject.is_some() { Form::Erasable } else { Form::Plain };
        let commitment = data_key.commitment();
        let common =
            fields::of(&[form.name().as_bytes(), context.as_str().as_bytes(), commitment.as_bytes()]);
        let mut unbound = common.clone();
        fields::push_optional(&mut unbound, None);
        Ok(Self { key, common, unbound })
    }

    /// Encrypts in place and returns the tag.
    pub(crate) fn seal(
        &self,
        nonce: [u8; NONCE_LEN],
        bound: Option<&str>,
        in_out: &mut [u8],
    ) -> Result<[u8; TAG_LEN], CryptoFailed> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let associated = Aad::from(self.associated(bound));
        let tag = self.key.seal_in_place_separate_tag(nonce, associated, in_out)?;
        tag.as_ref().try_into().map_err(|_| CryptoFailed)
    }

    /// Decrypts a payload: nonce, ciphertext, tag. `None` if it is not authentic.
    pub(crate) fn open(&self, payload: &[u8], bound: Option<&str>) -> Option<Vec<u8>> {
        let (nonce, sealed) = payload.split_first_chunk::<NONCE_LEN>()?;
        let mut in_out = sealed.to_vec();
        let associated = Aad::from(self.associated(bound));
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.key.open_in_place(nonce, associated, &mut in_out).ok()?.len();
        in_out.truncate(length);
        Some(in_out)
    }

    /// What is authenticated with a value that is bound to this text.
    pub(crate) fn associated(&self, bound: Option<&str>) -> Cow<'_, [u8]> {
        let Some(bound) = bound else { return Cow::Borrowed(&self.unbound) };
        let mut out = Vec::with_capacity(self.common.len() + bound.len() + 5);
        out.extend_from_slice(&self.common);
        fields::push_optional(&mut out, Some(bound.as_bytes()));
        Cow::Owned(out)
    }
}
