//! Properties that hold for any input, for the fuzz targets and the property tests.
//!
//! Each function panics when its property does not hold.

use std::borrow::Cow;
use std::sync::Arc;

use veilpost_proto::frame;
use veilpost_proto::masked::ValueRef;
use veilpost_proto::v1::{self, MaskedBatch};

use crate::catalogue::{
    ColumnKind, ColumnRights, DateTimeType, DeclaredType, NumericShape, Table, TableColumn, TextLimit,
};
use crate::convert::{Input, ValueRejection, Verdict, convert};
use crate::record::{PreparedBatch, prepare};
use crate::target::ResolvedTarget;

/// A column of each kind.
fn columns() -> Vec<TableColumn> {
    let kinds = [
        ColumnKind::Text { limit: TextLimit::None },
        ColumnKind::Text { limit: TextLimit::Characters(8) },
        ColumnKind::Text { limit: TextLimit::Bytes(63) },
        ColumnKind::Integer { least: i16::MIN.into(), greatest: i16::MAX.into() },
        ColumnKind::Integer { least: i64::MIN, greatest: i64::MAX },
        ColumnKind::Numeric { shape: None },
        ColumnKind::Numeric { shape: Some(NumericShape { precision: 5, scale: 2 }) },
        ColumnKind::Numeric { shape: Some(NumericShape { precision: 2, scale: -3 }) },
        ColumnKind::Money,
        ColumnKind::Float4,
        ColumnKind::Float8,
        ColumnKind::Boolean,
        ColumnKind::DateTime(DateTimeType::Date),
        ColumnKind::DateTime(DateTimeType::Time),
        ColumnKind::DateTime(DateTimeType::TimeWithTimeZone),
        ColumnKind::DateTime(DateTimeType::Timestamp),
        ColumnKind::DateTime(DateTimeType::TimestampWithTimeZone),
        ColumnKind::DateTimeRange(DateTimeType::Date),
        ColumnKind::Interval,
        ColumnKind::Uuid,
        ColumnKind::Json,
        ColumnKind::Jsonb,
        ColumnKind::Other,
    ];
    kinds.into_iter().enumerate().map(|(number, kind)| column(format!("c{number}"), kind)).collect()
}

fn column(name: String, kind: ColumnKind) -> TableColumn {
    TableColumn {
        sql_name: name.clone(),
        name,
        kind,
        is_array: false,
        type_name: "text".to_owned(),
        cast: "text".to_owned(),
        type_oid: 25,
        typmod: -1,
        declared: DeclaredType { oid: 25, typmod: -1 },
        not_null: false,
        has_default: false,
        unusable: None,
        collation: None,
        is_ordered: true,
        rights: ColumnRights { select: true, update: true },
    }
}

/// A target with a column of each kind.
fn target() -> ResolvedTarget {
    let columns = columns();
    let wanted = v1::Target {
        table: "t".to_owned(),
        columns: columns.iter().map(|column| column.name.clone()).collect(),
        ..v1::Target::default()
    };
    let table = Table {
        oid: 1,
        schema: "public".to_owned(),
        name: "t".to_owned(),
        visible: true,
        has_before_triggers: false,
        columns,
        unique_indexes: Vec::new(),
        sql_name: "public.t".to_owned(),
        role: "writer".to_owned(),
    };
    ResolvedTarget::resolve(&Arc::new(table), &wanted).expect("the columns are the table's")
}

/// Stores a text as each kind of value in a column of each kind: it fits, or it is rejected without being
/// quoted.
pub fn texts(text: &str) {
    for given in [ValueRef::Text(text), ValueRef::Number(text), ValueRef::Json(text)] {
        value(given);
    }
}

/// Checks that a value is rejected without being quoted, or fits its column as far as the writer judges that.
fn value(given: ValueRef<'_>) {
    for column in columns() {
        match convert(given, &column) {
            Verdict::Reject(ValueRejection { rule: Cow::Borrowed(_), .. }) => {}
            Verdict::Reject(refusal) => {
                assert!(is_the_columns(&refusal, &column), "quoted in {}", refusal.rule);
            }
            Verdict::Accept(input) => fits(&column, text(given, &input)),
            Verdict::Unsure(input) => assert!(!text(given, &input).contains('\0')),
        }
    }
}

/// The text of an input. A boolean has no text of its own.
fn text<'a>(given: ValueRef<'a>, input: &'a Input) -> &'a str {
    match input {
        Input::AsGiven => given.text().expect("a value that is taken as given has a text"),
        Input::Made(text) => text,
    }
}

/// Whether another value is rejected in the same words, so that they are the column's and not the value's.
fn is_the_columns(refusal: &ValueRejection, column: &TableColumn) -> bool {
    let (digits, letters) = ("9".repeat(200), "x".repeat(200));
    let others = [ValueRef::Number(&digits), ValueRef::Number("9e999999"), ValueRef::Text(&letters)];
    others.into_iter().any(
        |other| matches!(convert(other, column), Verdict::Reject(ValueRejection { rule, .. }) if rule == refusal.rule),
    )
}

fn fits(column: &TableColumn, taken: &str) {
    assert!(!taken.contains('\0'), "Postgres has no such text");
    match column.kind {
        ColumnKind::Text { limit: TextLimit::Characters(most) } => assert!(taken.chars().count() <= most),
        ColumnKind::Text { limit: TextLimit::Bytes(most) } => assert!(taken.len() <= most),
        ColumnKind::Integer { least, greatest } => {
            assert!(
                taken.parse().is_ok_and(|number: i64| (least..=greatest).contains(&number)),
                "{least} to {greatest}"
            );
        }
        ColumnKind::Json | ColumnKind::Jsonb => {
            assert!(serde_json::from_str::<serde::de::IgnoredAny>(taken).is_ok());
        }
        _ => {}
    }
}

/// Decodes and prepares a batch: it is refused as a whole, or its receipt has an outcome for each record.
pub fn batch(encoded: &[u8]) {
    let Ok(batch) = frame::decode::<MaskedBatch>(encoded.to_vec().into()) else { return };
    let records = batch.records.len() + batch.rejected.len();
    if let Ok(PreparedBatch { records: prepared, claims, receipt }) = prepare(batch, &target()) {
        assert_eq!(prepared.len() + claims.len(), records);
        assert_eq!(receipt.finish().outcomes.len(), records);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;
    use prost::Message;
    use veilpost_proto::v1::value::Kind as Sent;
    use veilpost_proto::v1::{MaskedRecord, Value};

    use super::*;

    /// Enough that what grows with the square of the size would take minutes.
    const SIZE: usize = 100_000;

    #[test]
    fn a_hundred_thousand_characters_of_the_worst_are_judged_at_once() {
        for unit in [
            "9",
            "0",
            "-",
            ".",
            "e9",
            "1e9",
            "1.5",
            "[",
            "{\"a\":",
            "\\",
            "\\u0000",
            "\"",
            "\u{1f600}",
            " ",
            "2024-01-01 ",
            ":",
        ] {
            let worst = unit.repeat(SIZE / unit.len());
            let exponent = format!("1e{worst}");
            let document = format!("[\"{worst}\"]");
            let decimal = format!("0.{worst}1");
            for text in [worst, exponent, document, decimal] {
                let begun = Instant::now();
                texts(&text);
                assert!(begun.elapsed() < Duration::from_secs(30), "{unit:?} took {:?}", begun.elapsed());
            }
        }
    }

    fn kind() -> impl Strategy<Value = Sent> {
        let text = prop_oneof![
            any::<String>(),
            r"[+-]?[0-9]{0,40}(\.[0-9]{0,40})?([eE][+-]?[0-9]{0,20})?",
            r#"[\[\]{}":,\\u0-9eE.nultrefs -]{0,40}"#,
            r"[0-9]{1,6}-[0-9]{1,3}-[0-9]{1,3}([ T][0-9]{1,3}:[0-9]{1,3}(:[0-9]{1,3}(\.[0-9]{0,9})?)?)?([+-][0-9:]{1,8}|Z| BC)?",
        ];
        (text, 0..4).prop_map(|(text, kind)| match kind {
            0 => Sent::Text(text),
            1 => Sent::Number(text),
            2 => Sent::Json(text),
            _ => Sent::Boolean(text.len() % 2 == 0),
        })
    }

    /// One value too few, as many values as columns, and one too many.
    fn value_counts() -> std::ops::RangeInclusive<usize> {
        let columns = columns().len();
        columns - 1..=columns + 1
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn any_value_fits_or_is_refused_without_being_quoted(sent in kind()) {
            value(match &sent {
                Sent::Text(text) => ValueRef::Text(text),
                Sent::Number(text) => ValueRef::Number(text),
                Sent::Json(text) => ValueRef::Json(text),
                Sent::Boolean(boolean) => ValueRef::Boolean(*boolean),
            });
        }

        #[test]
        fn any_batch_is_refused_or_has_a_place_for_every_record(
            records in prop::collection::vec(prop::collection::vec(prop::option::of(kind()), value_counts()), 0..4),
            sent: i64,
            cut in 0usize..40,
        ) {
            let record = |values: Vec<Option<Sent>>| MaskedRecord {
                message_id: "m".to_owned(),
                sent_timestamp_ms: sent,
                values: values.into_iter().map(|kind| Value { kind }).collect(),
                last_receive: sent % 2 == 0,
                ..MaskedRecord::default()
            };
            let records = MaskedBatch::encoded(records.into_iter().map(record));
            let mut encoded = MaskedBatch { records, ..MaskedBatch::default() }.encode_to_vec();
            batch(&encoded);
            encoded.truncate(encoded.len().saturating_sub(cut));
            batch(&encoded);
        }

        #[test]
        fn any_bytes_are_refused_or_a_batch(bytes: Vec<u8>) {
            batch(&bytes);
        }
    }
}
