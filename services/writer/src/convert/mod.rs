//! Judges and converts values before any SQL runs, because Postgres logs the values that it refuses.

mod boolean;
mod datetime;
mod decimal;
mod integer;
mod json;
mod number;
mod text;
mod uuid;

use std::borrow::Cow;
use std::fmt;

use veilpost_proto::masked::Given;
use veilpost_proto::v1::Reason;

use datetime::DateTimeType;
use json::JsonType;

use crate::catalogue::{ColumnKind, TableColumn};

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

impl Verdict {
    fn reject(reason: Reason, rule: impl Into<Cow<'static, str>>) -> Self {
        Self::Reject(ValueRejection { reason, rule: rule.into() })
    }

    fn invalid(rule: impl Into<Cow<'static, str>>) -> Self {
        Self::reject(Reason::InvalidValue, rule)
    }

    fn out_of_range(rule: impl Into<Cow<'static, str>>) -> Self {
        Self::reject(Reason::OutOfRange, rule)
    }
}

/// Judges one value for one column. The text of a verdict is input of the column's base type. Lengths are
/// judged here; constraints are left to Postgres.
pub(crate) fn convert(given: Given<'_>, column: &TableColumn) -> Verdict {
    match (given, &column.kind) {
        (Given::Text(text) | Given::Number(text), _) if memchr::memchr(0, text.as_bytes()).is_some() => {
            Verdict::reject(Reason::NulInText, "U+0000 in text")
        }
        (_, ColumnKind::Json) => json::convert(given, JsonType::Json),
        (_, ColumnKind::Jsonb) => json::convert(given, JsonType::Jsonb),
        (Given::Json(_), _) => {
            Verdict::reject(Reason::NotAScalar, "an object or array where a scalar is needed")
        }
        _ => convert_scalar(given, column),
    }
}

fn convert_scalar(given: Given<'_>, column: &TableColumn) -> Verdict {
    match column.kind {
        ColumnKind::Text { limit } => text::convert(given, limit),
        ColumnKind::Integer { least, greatest } => integer::convert(given, least, greatest),
        ColumnKind::Numeric { shape } => number::numeric(given, shape),
        ColumnKind::Float4 => number::float(given, number::fits_float4),
        ColumnKind::Float8 => number::float(given, number::fits_float8),
        ColumnKind::Boolean => boolean::convert(given),
        ColumnKind::Date => datetime::convert(given, DateTimeType::Date),
        ColumnKind::Timestamp => datetime::convert(given, DateTimeType::Timestamp),
        ColumnKind::Time => datetime::convert(given, DateTimeType::Other),
        ColumnKind::Uuid => uuid::convert(given),
        ColumnKind::Other | ColumnKind::Json | ColumnKind::Jsonb => Verdict::Unsure(spelled(given)),
    }
}

/// A scalar as the producer wrote it.
fn spelled(given: Given<'_>) -> Input {
    match given {
        Given::Text(_) | Given::Number(_) | Given::Json(_) => Input::AsGiven,
        Given::Boolean(boolean) => Input::Made(boolean.to_string()),
    }
}
