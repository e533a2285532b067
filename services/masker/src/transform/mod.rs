//! Transforms: how a column gets its value. `policy/transforms.rs` has their names and options.

mod boolean;
mod calendar;
mod copy;
mod epoch;
mod format;
mod format_parts;
mod hmac_keys;
mod hmac_sha512;
mod ip_prefix;
mod major_version;
mod message;
mod partial;
mod sha512;
mod storable;
mod trace_id;
mod value_rules;
mod without;

use veilpost_proto::v1::value::Kind;
use veilpost_runtime::BadSettings;

pub(crate) use boolean::{BooleanTexts, FALSE, TRUE};
pub(crate) use epoch::EpochUnit;
pub(crate) use format::{DateFormat, TimestampFormat};
pub use hmac_keys::HmacKeys;
pub(crate) use hmac_keys::{KeyDigests, is_key_id};
pub(crate) use hmac_sha512::{HmacSha512, KeyName, KeyedDigest};
pub(crate) use ip_prefix::IpPrefix;
pub(crate) use message::MessageTransform;
pub(crate) use partial::Partial;
use storable::storable_text;
pub(crate) use value_rules::ValueRules;
pub(crate) use without::Without;

use crate::body::{FieldValue, Source};
use crate::fault::Fault;
use crate::normalize::email_domain;

/// How a column gets its value, as the policy says it.
#[derive(Clone, Debug)]
pub(crate) enum Transform {
    Field { source: Source, how: FieldTransform },
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
    CopyWithout(Without),
    Sha512,
    MajorVersion,
    IpPrefix(IpPrefix),
    Partial(Partial),
    Redact(String),
    EmailDomain,
    Epoch(EpochUnit),
    Date(DateFormat),
    Timestamp(TimestampFormat),
    Boolean(BooleanTexts),
}

/// A [`FieldTransform`] that has its key and can be applied.
#[derive(Debug)]
pub(crate) enum ReadyTransform {
    Keyless(KeylessTransform),
    HmacSha512(Box<KeyedDigest>),
}

impl Transform {
    /// Where the value is from; `None` when it is known without body, attributes and envelope.
    pub(crate) fn source(&self) -> Option<&Source> {
        match self {
            Self::Field { source, .. } => Some(source),
            Self::Message(_) => None,
        }
    }
}

impl FieldTransform {
    /// Whether objects and arrays can be transformed, and not only scalars.
    pub(crate) fn takes_objects(&self) -> bool {
        use KeylessTransform::{Copy, CopyWithout, Redact};
        matches!(self, Self::Keyless(Copy | CopyWithout(_) | Redact(_)))
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
    pub(crate) fn apply(&self, field: FieldValue<'_>) -> Result<Option<Kind>, Fault> {
        match self {
            Self::Keyless(keyless) => keyless.apply(field),
            Self::HmacSha512(keyed) => Ok(Some(Kind::Text(keyed.digest(&field.scalar()?)))),
        }
    }

    /// Whether [`Self::apply`] can give `None`.
    pub(crate) fn may_give_null(&self) -> bool {
        matches!(self, Self::Keyless(KeylessTransform::MajorVersion))
    }
}

impl KeylessTransform {
    fn apply(&self, field: FieldValue<'_>) -> Result<Option<Kind>, Fault> {
        Ok(Some(match self {
            Self::Copy => copy::copy(field)?,
            Self::CopyWithout(without) => copy::copy_without(&field, without)?,
            Self::Sha512 => Kind::Text(sha512::sha512(&field.scalar()?)),
            Self::MajorVersion => {
                return Ok(major_version::major_version(&field.scalar()?).map(Kind::Number));
            }
            Self::IpPrefix(prefix) => Kind::Text(prefix.of(&field.scalar()?)?),
            Self::Partial(partial) => storable_text(partial.of(&field.scalar()?))?,
            Self::Redact(constant) => Kind::Text(constant.clone()),
            Self::EmailDomain => Kind::Text(email_domain(&field.scalar()?)?),
            Self::Epoch(unit) => Kind::Text(unit.of(&field.scalar()?)?),
            Self::Date(format) => Kind::Text(format.of(&field.scalar()?)?),
            Self::Timestamp(format) => Kind::Text(format.of(&field.scalar()?)?),
            Self::Boolean(texts) => texts.of(field)?,
        }))
    }
}
