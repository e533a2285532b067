//! Normalisation: steps that make one text of the many ways to write the same thing, before the transform.

mod digits;
mod email;
mod ip;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

pub(crate) use email::domain as email_domain;
pub(crate) use ip::address as ip_address;

use crate::fault::Fault;

/// One step of `normalize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Without Unicode's `White_Space` at both ends.
    Trim,
    /// Unicode's Normalization Form C (UAX #15): one spelling for each accented character.
    Nfc,
    /// Unicode's full mapping to lower case, of no language in particular.
    Lowercase,
    /// One spelling for each IP address (RFC 5952).
    Ip,
    /// One spelling for each domain of an e-mail address; the local part is left alone.
    Email,
    /// The digits of a number such as a phone number's, without what separates them.
    Digits,
}

impl Step {
    /// Every step, in the order in which messages list them.
    pub(crate) const ALL: [Self; 6] =
        [Self::Trim, Self::Nfc, Self::Lowercase, Self::Ip, Self::Email, Self::Digits];

    /// The step's name in policies.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Trim => "trim",
            Self::Nfc => "nfc",
            Self::Lowercase => "lowercase",
            Self::Ip => "ip",
            Self::Email => "email",
            Self::Digits => "digits",
        }
    }

    /// The normalised text. Normalising it again changes nothing.
    ///
    /// # Errors
    /// When the text is no IP address, no e-mail address or no number, and the step needs one.
    pub(crate) fn apply(self, text: Cow<'_, str>) -> Result<Cow<'_, str>, Fault> {
        match self {
            Self::Trim => Ok(trim(text)),
            Self::Nfc => Ok(nfc(text)),
            Self::Lowercase => Ok(lowercase(text)),
            Self::Ip => ip::normalized(&text).map(Cow::Owned),
            Self::Email => email::normalized(&text).map(Cow::Owned),
            Self::Digits => digits::normalized(&text).map(Cow::Owned),
        }
        .map_err(|fault: Fault| fault.in_step(self.name()))
    }
}

fn trim(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) if text.trim().len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

fn nfc(text: Cow<'_, str>) -> Cow<'_, str> {
    match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => text,
        IsNormalized::No | IsNormalized::Maybe => Cow::Owned(text.nfc().collect()),
    }
}

fn lowercase(text: Cow<'_, str>) -> Cow<'_, str> {
    let is_lower = |byte: u8| byte.is_ascii() && !byte.is_ascii_uppercase();
    if text.bytes().all(is_lower) { text } else { Cow::Owned(text.to_lowercase()) }
}
