//! Why a body cannot be read.

use std::fmt;

use veilpost_proto::v1::Reason;

use super::decode::{Encoding, MAX_DECODED_BYTES};

/// Why a body, or a part of it, can never be read as the policy says. It never holds a part of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BodyFlaw {
    NotJson,
    NotAnObject,
    NotDecodable(Encoding),
    /// The name of the envelope in policies.
    NotWrapped(String),
    /// The pointer in the policy.
    NotAnArray(String),
    /// The most records that the policy allows.
    TooManyRecords(usize),
    TooLarge,
}

impl BodyFlaw {
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::NotJson => Reason::NotJson,
            Self::NotAnObject => Reason::NotAnObject,
            Self::NotDecodable(_) => Reason::NotDecodable,
            Self::NotWrapped(_) => Reason::NotWrapped,
            Self::NotAnArray(_) => Reason::NotAnArray,
            Self::TooManyRecords(_) => Reason::TooManyRecords,
            Self::TooLarge => Reason::TooLarge,
        }
    }
}

impl fmt::Display for BodyFlaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson => formatter.write_str("the body is not JSON"),
            Self::NotAnObject => formatter.write_str("the body is JSON, but not an object"),
            Self::NotDecodable(encoding) => write!(formatter, "the body is not {}", encoding.name()),
            Self::NotWrapped(envelope) => write!(formatter, "the body is not wrapped: unwrap = {envelope:?}"),
            Self::NotAnArray(pointer) => {
                write!(formatter, "the body has no array of records: records = {pointer:?}")
            }
            Self::TooManyRecords(most) => write!(formatter, "the message has more than {most} records"),
            Self::TooLarge => {
                let mebibytes = MAX_DECODED_BYTES / (1024 * 1024);
                write!(formatter, "decoded, the body has more than {mebibytes} MiB, or far more than encoded")
            }
        }
    }
}
