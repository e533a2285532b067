//! Judges and converts values before any SQL runs, because Postgres logs the values that it refuses.

mod boolean;
mod datetime;
mod decimal;
mod elements;
mod integer;
mod interval;
mod json;
mod number;
mod range;
mod text;
mod uuid;
mod verdict;

use veilpost_proto::masked::ValueRef;
use veilpost_proto::v1::Reason;

use json::JsonType;

#[cfg(any(test, fuzzing))]
pub(crate) use verdict::ValueRejection;
pub(crate) use verdict::{Input, Verdict};

use crate::catalogue::{ColumnKind, TableColumn};

/// Judges one value for one column. The text of a verdict is input of the column's base type. Lengths are
/// judged here; constraints are left to Postgres.
pub(crate) fn convert(given: ValueRef<'_>, column: &TableColumn) -> Verdict {
    if column.is_array { elements::array(given, column) } else { convert_one(given, column) }
}

/// The same for one value, which may be an element of an array.
fn convert_one(given: ValueRef<'_>, column: &TableColumn) -> Verdict {
    match (given, &column.kind) {
        (ValueRef::Text(text) | ValueRef::Number(text), _)
            if memchr::memchr(0, text.as_bytes()).is_some() =>
        {
            Verdict::reject(Reason::NulInText, "U+0000 in text")
        }
        (_, ColumnKind::Json) => json::convert(given, JsonType::Json),
        (_, ColumnKind::Jsonb) => json::convert(given, JsonType::Jsonb),
        (_, ColumnKind::Hstore) => elements::hstore(given),
        (ValueRef::Json(_), _) => {
            Verdict::reject(Reason::NotAScalar, "an object or array where a scalar is needed")
        }
        _ => convert_scalar(given, column),
    }
}

fn convert_scalar(given: ValueRef<'_>, column: &TableColumn) -> Verdict {
    match column.kind {
        ColumnKind::Text { limit } => text::convert(given, limit),
        ColumnKind::Integer { least, greatest } => integer::convert(given, least, greatest),
        ColumnKind::Numeric { shape } => number::numeric(given, shape),
        ColumnKind::Money => number::money(given),
        ColumnKind::Float4 => number::float(given, number::fits_float4),
        ColumnKind::Float8 => number::float(given, number::fits_float8),
        ColumnKind::Boolean => boolean::convert(given),
        ColumnKind::DateTime(date_time_type) => datetime::convert(given, date_time_type),
        ColumnKind::DateTimeRange(bound) => range::convert(given, bound),
        ColumnKind::Interval => interval::convert(given),
        ColumnKind::Uuid => uuid::convert(given),
        ColumnKind::Other | ColumnKind::Json | ColumnKind::Jsonb | ColumnKind::Hstore => {
            Verdict::Unsure(Input::spelled(given))
        }
    }
}
