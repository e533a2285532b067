//! Converts a batch's records before any SQL runs.

use std::borrow::Cow;
use std::ops::Range;

use veilpost_proto::masked::{RecordHeader, ValueRef, read_record};
use veilpost_proto::v1::{MaskedBatch, Reason};
use veilpost_proto::{MAX_ROWS, ReceiptBuilder};
use veilpost_runtime::numbers;

use super::bits::wrong_length;
use super::{Cell, Claim, Record};
use crate::catalogue::TableColumn;
use crate::convert::{Input, Verdict, convert};
use crate::ledger::Key;
use crate::target::ResolvedTarget;

/// Why a batch is refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnfitBatch {
    /// The position of the record.
    #[error("record {0} cannot be read")]
    Unreadable(usize),
    /// The position of the record.
    #[error("record {0} does not have one value for each of the target's columns in each row")]
    Length(usize),
}

/// A batch whose values have been converted.
#[derive(Debug)]
pub(crate) struct PreparedBatch {
    /// The records that can be stored, as far as that is known.
    pub(crate) records: Vec<Record>,
    /// The records that can never be stored, the masker's included.
    pub(crate) claims: Vec<Claim>,
    /// Nothing is decided in it yet.
    pub(crate) receipt: ReceiptBuilder,
}

/// Converts a batch's records.
pub(crate) fn prepare(batch: MaskedBatch, target: &ResolvedTarget) -> Result<PreparedBatch, UnfitBatch> {
    let first_rejected = batch.records.len();
    let receipt = ReceiptBuilder::new(batch.id, first_rejected + batch.rejected.len());
    let mut records = Vec::with_capacity(batch.records.len());
    let mut claims = Vec::with_capacity(batch.rejected.len());
    for (position, encoded) in batch.records.into_iter().enumerate() {
        let mut given = GivenRows::new(target);
        let header = read_record(&encoded, |value, range| given.push(value, range));
        let RecordHeader { message_id, sent_timestamp_ms: sent_ms, last_receive, rows } =
            header.map_err(|_| UnfitBatch::Unreadable(position))?;
        let GivenRows { cells, unsure, length, rejected, .. } = given;
        let columns = target.columns.len();
        let expected = numbers::to_usize(rows.unwrap_or(1));
        if expected > MAX_ROWS || length != expected * columns {
            return Err(UnfitBatch::Length(position));
        }
        let key = Key::new(&batch.pipeline, message_id, sent_ms);
        let columns = numbers::to_u32(columns);
        let record = Record { position, key, sent_ms, last_receive, encoded, columns, cells, unsure };
        match rejected {
            Some(rejection) => {
                let RowRejection { reason, .. } = rejection;
                claims.push(Claim::of(&record, reason, rejection.detail(rows)));
            }
            None => records.push(record),
        }
    }
    let rejected = (first_rejected..).zip(batch.rejected);
    claims.extend(rejected.map(|(position, rejected)| Claim::of_masker(&batch.pipeline, position, rejected)));
    Ok(PreparedBatch { records, claims, receipt })
}

/// The rows of one record, collected value by value.
struct GivenRows<'target> {
    target: &'target ResolvedTarget,
    cells: Vec<Cell>,
    unsure: Vec<usize>,
    /// How many values came, those of too many rows too.
    length: usize,
    /// Why it can never be stored. Values after the first rejected one are not looked at.
    rejected: Option<RowRejection>,
}

struct RowRejection {
    reason: Reason,
    row: usize,
    /// Names the column and the rule.
    what: String,
}

impl<'target> GivenRows<'target> {
    fn new(target: &'target ResolvedTarget) -> Self {
        let cells = Vec::with_capacity(target.columns.len());
        Self { target, cells, unsure: Vec::new(), length: 0, rejected: None }
    }

    fn push(&mut self, given: Option<ValueRef<'_>>, range: Range<usize>) {
        let columns = &self.target.columns;
        // A target has at least one column.
        let (row, position) = (self.length / columns.len().max(1), self.length % columns.len().max(1));
        let is_kept = row < MAX_ROWS && self.rejected.is_none();
        if let Some(column) = columns.get(position).filter(|_| is_kept) {
            match self.cell(given, range, column) {
                Ok(cell) => self.cells.push(cell),
                Err((reason, rule)) => {
                    let what = format!("column {}: {rule}", column.name);
                    self.rejected = Some(RowRejection { reason, row, what });
                }
            }
        }
        self.length += 1;
    }

    fn cell(
        &mut self,
        given: Option<ValueRef<'_>>,
        range: Range<usize>,
        column: &TableColumn,
    ) -> Result<Cell, (Reason, Cow<'static, str>)> {
        let Some(given) = given else {
            // A trigger may fill it in before Postgres checks.
            let allowed = !column.not_null || self.target.table.has_before_triggers;
            return allowed.then_some(Cell::Null).ok_or((Reason::Constraint, "NULL is not allowed".into()));
        };
        if let Some((reason, rule)) = given.text().and_then(|text| wrong_length(text, column)) {
            return Err((reason, rule.into()));
        }
        let input = match convert(given, column) {
            Verdict::Accept(input) => input,
            Verdict::Unsure(input) => {
                self.unsure.push(self.length);
                input
            }
            Verdict::Reject(rejection) => return Err((rejection.reason, rejection.rule)),
        };
        Ok(match input {
            Input::AsGiven => Cell::Given(range),
            Input::Made(text) => Cell::Made(text),
        })
    }
}

impl RowRejection {
    /// The detail names the element of the message that became the row, where there are several.
    fn detail(self, rows: Option<u32>) -> String {
        let Self { row, what, .. } = self;
        if rows.is_some() { format!("element {row}, {what}") } else { what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::fixtures::{column, table};
    use crate::catalogue::{ColumnKind, TextLimit};
    use veilpost_proto::v1::RejectedRecord;
    use veilpost_proto::v1::value::Kind as Sent;
    use veilpost_proto::v1::{self, MaskedRecord, Value};

    fn target() -> ResolvedTarget {
        let short =
            TableColumn { kind: ColumnKind::Text { limit: TextLimit::Characters(2) }, ..column("short") };
        let strict = TableColumn { not_null: true, ..column("strict") };
        let columns = vec!["short".to_owned(), "strict".to_owned()];
        let wanted = v1::Target { table: "logins".into(), columns, ..v1::Target::default() };
        ResolvedTarget::resolve(&table(vec![short, strict]), &wanted).unwrap()
    }

    fn record(values: &[Option<&str>]) -> MaskedRecord {
        let value = |text: Option<&str>| Value { kind: text.map(|text| Sent::Text(text.to_owned())) };
        MaskedRecord {
            message_id: "m".into(),
            sent_timestamp_ms: 1,
            values: values.iter().copied().map(value).collect(),
            ..MaskedRecord::default()
        }
    }

    fn batch(records: Vec<MaskedRecord>) -> MaskedBatch {
        MaskedBatch { records: MaskedBatch::encoded(records), ..MaskedBatch::default() }
    }

    #[test]
    fn a_bad_record_does_not_cost_its_neighbours() {
        let records = vec![
            record(&[Some("ok"), Some("x")]),
            record(&[Some("too long"), Some("x")]),
            record(&[None, None]),
            record(&[None, Some("x")]),
        ];
        let PreparedBatch { records, claims, receipt } = prepare(batch(records), &target()).unwrap();
        let positions: Vec<_> = records.iter().map(|record| record.position).collect();
        assert_eq!(positions, [0, 3]);
        assert_eq!(receipt.finish().outcomes, [0; 4], "the ledger has not been asked");
        let found: Vec<_> = claims.iter().map(|claim| (claim.position, claim.reason)).collect();
        assert_eq!(found, [(1, Reason::TextTooLong), (2, Reason::Constraint)]);
        assert_eq!(claims[0].detail, "column short: longer than 2 characters");
        assert!(claims[0].by_definition);
    }

    #[test]
    fn what_the_masker_rejects_has_the_key_that_its_record_would_have() {
        let rejected = RejectedRecord {
            message_id: "m".into(),
            sent_timestamp_ms: 1,
            reason: Reason::NotJson.into(),
            ..RejectedRecord::default()
        };
        let masked = MaskedRecord { last_receive: true, ..record(&[Some("ok"), Some("x")]) };
        let batch = MaskedBatch { rejected: vec![rejected], ..batch(vec![masked]) };
        let PreparedBatch { records, claims, receipt } = prepare(batch, &target()).unwrap();
        assert_eq!(claims[0].key, records[0].key);
        assert!(records[0].last_receive && !claims[0].by_definition);
        assert_eq!((claims[0].position, claims[0].reason), (1, Reason::NotJson));
        assert_eq!(receipt.finish().outcomes.len(), 2);
        assert_eq!(format!("{:?}", claims[0]), "Claim { message_id: \"m\", reason: NotJson, .. }");
    }

    #[test]
    fn a_record_with_the_wrong_number_of_values_spoils_the_batch() {
        for values in [&[None][..], &[Some("too long")], &[Some("ok"), Some("x"), None]] {
            assert_eq!(prepare(batch(vec![record(values)]), &target()).unwrap_err(), UnfitBatch::Length(0));
        }
    }

    #[test]
    fn a_record_that_cannot_be_read_spoils_the_batch() {
        let mut batch = batch(vec![record(&[Some("ok"), Some("x")]); 2]);
        batch.records[1].truncate(6);
        let unfit = prepare(batch, &target()).unwrap_err();
        assert_eq!(unfit.to_string(), "record 1 cannot be read");
    }

    #[test]
    fn a_record_has_as_many_values_as_its_rows_need() {
        let good = [Some("ok"), Some("x")];
        for (rows, values, fits) in [
            (None, good.to_vec(), true),
            (Some(1), good.to_vec(), true),
            (Some(0), Vec::new(), true),
            (Some(3), good.repeat(3), true),
            (None, Vec::new(), false),
            (None, good.repeat(2), false),
            (Some(0), good.to_vec(), false),
            (Some(2), good.repeat(3), false),
            (Some(2), vec![Some("ok"); 3], false),
        ] {
            let prepared = prepare(batch(vec![MaskedRecord { rows, ..record(&values) }]), &target());
            match prepared {
                Ok(prepared) => {
                    assert!(fits, "{rows:?} of {values:?}");
                    assert_eq!(prepared.records[0].rows(), values.len() / 2);
                }
                Err(unfit) => assert!(!fits && unfit == UnfitBatch::Length(0), "{rows:?} of {values:?}"),
            }
        }
    }

    #[test]
    fn one_bad_element_rejects_the_message_and_is_named() {
        let values = [Some("ok"), Some("x"), Some("ok"), None, Some("too long"), Some("x")];
        let masked = MaskedRecord { rows: Some(3), ..record(&values) };
        let PreparedBatch { records, claims, .. } = prepare(batch(vec![masked]), &target()).unwrap();
        assert!(records.is_empty());
        assert_eq!(claims[0].detail, "element 1, column strict: NULL is not allowed");
    }

    #[test]
    fn values_of_more_rows_than_any_record_has_are_counted_and_not_kept() {
        let target = target();
        let mut rows = GivenRows::new(&target);
        for _ in 0..1_000_000 {
            rows.push(Some(ValueRef::Text("x")), 0..1);
        }
        assert_eq!((rows.length, rows.cells.len()), (1_000_000, 2 * MAX_ROWS));
    }

    #[test]
    fn inputs_are_the_given_texts_or_what_they_were_made_into() {
        let number = TableColumn { kind: ColumnKind::Integer { least: 0, greatest: 99 }, ..column("number") };
        let other = TableColumn { kind: ColumnKind::Other, ..column("other") };
        let columns = ["text", "number", "other", "null"].map(str::to_owned).to_vec();
        let table = table(vec![column("text"), number, other, column("null")]);
        let wanted = v1::Target { table: "logins".into(), columns, ..v1::Target::default() };
        let target = ResolvedTarget::resolve(&table, &wanted).unwrap();
        let values = [
            Some(Sent::Boolean(true)),
            Some(Sent::Number("7.0".into())),
            Some(Sent::Text("1 day".into())),
            None,
        ];
        let values = values.map(|kind| Value { kind }).to_vec();
        let record = MaskedRecord { values, ..record(&[]) };
        let PreparedBatch { records, .. } = prepare(batch(vec![record]), &target).unwrap();
        let record = &records[0];
        let inputs: Vec<_> = (0..record.columns()).flat_map(|column| record.inputs(column)).collect();
        assert_eq!(inputs, [Some(&b"true"[..]), Some(b"7"), Some(b"1 day"), None]);
        assert_eq!(record.message_id(), "m");
        let unsure: Vec<_> = (0..4).map(|column| record.unsure_inputs(column).collect::<Vec<_>>()).collect();
        assert_eq!(unsure, [vec![], vec![], vec!["1 day"], vec![]]);
        assert_eq!(format!("{record:?}"), "Record { message_id: \"m\", .. }");
    }
}
