//! Transforms: how a column gets its value. `policy/transforms.rs` has their names and options.

mod copy;
mod hmac_keys;
mod hmac_sha512;
mod major_version;
mod message;
mod sha512;
mod storable;

use veilpost_proto::v1::Reason;
use veilpost_proto::v1::value::Kind;
use veilpost_runtime::BadSettings;

pub use hmac_keys::HmacKeys;
pub(crate) use hmac_keys::{KeyDigests, is_key_id};
pub(crate) use hmac_sha512::{HmacSha512, KeyName, KeyedDigest};
pub(crate) use message::MessageTransform;

use crate::body::{FieldValue, Pointer};

/// How a column gets its value, as the policy says it.
#[derive(Clone, Debug)]
pub(crate) enum Transform {
    Field { source: Pointer, how: FieldTransform },
    Message(MessageTransform),
}

/// What is done to a field of the body, as the policy says it.
#[derive(Clone, Debug)]
pub(crate) enum FieldTransform {
    Keyless(KeylessTransform),
    HmacSha512(HmacSha512),
}

/// Transforms that need only the policy and the field.
#[derive(Clone, Debug)]
pub(crate) enum KeylessTransform {
    Copy,
    Sha512,
    MajorVersion,
}

/// A [`FieldTransform`] that has its key and can be applied.
#[derive(Debug)]
pub(crate) enum ReadyTransform {
    Keyless(KeylessTransform),
    HmacSha512(Box<KeyedDigest>),
}

impl Transform {
    /// Where in the body the value is from; `None` when it is not from the body.
    pub(crate) fn source(&self) -> Option<&Pointer> {
        match self {
            Self::Field { source, .. } => Some(source),
            Self::Message(_) => None,
        }
    }
}

impl FieldTransform {
    /// Whether objects and arrays can be transformed, and not only scalars.
    pub(crate) fn takes_objects(&self) -> bool {
        matches!(self, Self::Keyless(KeylessTransform::Copy))
    }

    /// Takes the key that the policy names from `keys`; fails when it is not there.
    pub(crate) fn ready(&self, keys: &HmacKeys) -> Result<ReadyTransform, BadSettings> {
        Ok(match self {
            Self::Keyless(keyless) => ReadyTransform::Keyless(keyless.clone()),
            Self::HmacSha512(keyed) => ReadyTransform::HmacSha512(Box::new(keyed.take_key(keys)?)),
        })
    }
}

impl ReadyTransform {
    /// The column's value for a field that is there and not null. `None` is stored as NULL, with a warning.
    pub(crate) fn apply(&self, field: FieldValue<'_>) -> Result<Option<Kind>, Reason> {
        match self {
            Self::Keyless(keyless) => keyless.apply(field),
            Self::HmacSha512(keyed) => Ok(Some(Kind::Text(keyed.digest(&field.scalar()?)))),
        }
    }
}

impl KeylessTransform {
    fn apply(&self, field: FieldValue<'_>) -> Result<Option<Kind>, Reason> {
        Ok(match self {
            Self::Copy => Some(copy::copy(field)?),
            Self::Sha512 => Some(Kind::Text(sha512::sha512(&field.scalar()?))),
            Self::MajorVersion => major_version::major_version(&field.scalar()?).map(Kind::Number),
        })
    }
}
