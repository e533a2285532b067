//! What is known of a value: it fits its column, it can never fit, or only Postgres can tell.

use std::borrow::Cow;
use std::fmt;

use veilpost_proto::masked::ValueRef;
use veilpost_proto::v1::Reason;

/// What is known of a value without asking Postgres.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The column's type takes this text.
    Accept(Input),
    /// Only Postgres can judge it.
    Unsure(Input),
    Reject(ValueRejection),
}

/// The text that is sent to Postgres for a value.
#[derive(PartialEq, Eq)]
pub(crate) enum Input {
    /// The value's own text.
    AsGiven,
    Made(String),
}

/// Never shows the value.
impl fmt::Debug for Input {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::AsGiven => "as given",
            Self::Made(_) => "made",
        })
    }
}

/// Why a value can never be stored in its column. The rule does not repeat the value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ValueRejection {
    pub(crate) reason: Reason,
    pub(crate) rule: Cow<'static, str>,
}

impl Input {
    /// A scalar as the producer wrote it.
    pub(super) fn spelled(given: ValueRef<'_>) -> Self {
        match given {
            ValueRef::Text(_) | ValueRef::Number(_) | ValueRef::Json(_) => Self::AsGiven,
            ValueRef::Boolean(boolean) => Self::Made(boolean.to_string()),
        }
    }
}

impl Verdict {
    pub(super) fn reject(reason: Reason, rule: impl Into<Cow<'static, str>>) -> Self {
        Self::Reject(ValueRejection { reason, rule: rule.into() })
    }

    pub(super) fn invalid(rule: impl Into<Cow<'static, str>>) -> Self {
        Self::reject(Reason::InvalidValue, rule)
    }

    pub(super) fn out_of_range(rule: impl Into<Cow<'static, str>>) -> Self {
        Self::reject(Reason::OutOfRange, rule)
    }
}
