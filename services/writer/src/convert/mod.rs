//! Judges and converts values before any SQL runs: Postgres's own log would quote the values that it refuses.

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

use crate::catalogue::{Column, Kind};

/// What is known of a value before the database has seen it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The column's type takes this text.
    Accept(Input),
    /// Only the database can tell.
    Unsure(Input),
    Reject(Refusal),
}

/// The text that goes to the database for a value.
#[derive(PartialEq, Eq)]
pub(crate) enum Input {
    /// The value's own text.
    AsGiven,
    Made(String),
}

/// Never the value.
impl fmt::Debug for Input {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::AsGiven => "as given",
            Self::Made(_) => "made",
        })
    }
}

/// Why a value can never be stored in its column; names the rule and never the value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) rule: Cow<'static, str>,
}

impl Verdict {
    fn reject(reason: Reason, rule: impl Into<Cow<'static, str>>) -> Self {
        Self::Reject(Refusal { reason, rule: rule.into() })
    }

    fn invalid(rule: impl Into<Cow<'static, str>>) -> Self {
        Self::reject(Reason::InvalidValue, rule)
    }

    fn out_of_range(rule: impl Into<Cow<'static, str>>) -> Self {
        Self::reject(Reason::OutOfRange, rule)
    }
}

/// Judges one value for one column. The text of a verdict is the input of the column's base type; text for length-limited
/// columns is judged here, everything else that a constraint might refuse stays with the database.
pub(crate) fn convert(given: Given<'_>, column: &Column) -> Verdict {
    match (given, &column.kind) {
        (Given::Text(text) | Given::Number(text), _) if memchr::memchr(0, text.as_bytes()).is_some() => {
            Verdict::reject(Reason::NulInText, "U+0000 in text")
        }
        (_, Kind::Json) => json::convert(given, json::Form::Text),
        (_, Kind::Jsonb) => json::convert(given, json::Form::Binary),
        (Given::Json(_), _) => {
            Verdict::reject(Reason::NotAScalar, "an object or array where a scalar is needed")
        }
        _ => convert_scalar(given, column),
    }
}

fn convert_scalar(given: Given<'_>, column: &Column) -> Verdict {
    match column.kind {
        Kind::Text { limit } => text::convert(given, limit),
        Kind::Integer { least, greatest } => integer::convert(given, least, greatest),
        Kind::Numeric { shape } => number::numeric(given, shape),
        Kind::Float4 => number::float(given, number::fits_float4),
        Kind::Float8 => number::float(given, number::fits_float8),
        Kind::Boolean => boolean::convert(given),
        Kind::Date => datetime::convert(given, datetime::Form::Date),
        Kind::Timestamp => datetime::convert(given, datetime::Form::Timestamp),
        Kind::Time => datetime::convert(given, datetime::Form::Other),
        Kind::Uuid => uuid::convert(given),
        Kind::Other | Kind::Json | Kind::Jsonb => Verdict::Unsure(spelled(given)),
    }
}

/// A scalar as the producer wrote it.
fn spelled(given: Given<'_>) -> Input {
    match given {
        Given::Text(_) | Given::Number(_) | Given::Json(_) => Input::AsGiven,
        Given::Boolean(boolean) => Input::Made(boolean.to_string()),
    }
}
