//! Converts a batch's records before any SQL runs.

use std::ops::Range;

use veilpost_proto::ReceiptBuilder;
use veilpost_proto::masked::{RecordHeader, ValueRef, read_record};
use veilpost_proto::v1::{MaskedBatch, Reason};

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
    #[error("record {0} does not have one value for each of the target's columns")]
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
        let mut row = Row::new(target);
        let header = read_record(&encoded, |given, range| row.push(given, range));
        let RecordHeader { message_id, sent_timestamp_ms: sent_ms, last_receive } =
            header.map_err(|_| UnfitBatch::Unreadable(position))?;
        let Row { cells, unsure, length, rejected, .. } = row;
        if length != target.columns.len() {
            return Err(UnfitBatch::Length(position));
        }
        let key = Key::new(&batch.pipeline, message_id, sent_ms);
        let record = Record { position, key, sent_ms, last_receive, encoded, cells, unsure };
        match rejected {
            Some(RowRejection { reason, detail }) => claims.push(Claim::of(&record, reason, detail)),
            None => records.push(record),
        }
    }
    let rejected = (first_rejected..).zip(batch.rejected);
    claims.extend(rejected.map(|(position, rejected)| Claim::of_masker(&batch.pipeline, position, rejected)));
    Ok(PreparedBatch { records, claims, receipt })
}

/// The cells of one record, collected value by value.
struct Row<'target> {
    target: &'target ResolvedTarget,
    cells: Vec<Cell>,
    unsure: Vec<usize>,
    /// How many values came, those beyond the last column too.
    length: usize,
    /// Why it can never be stored. Values after the first rejected one are not looked at.
    rejected: Option<RowRejection>,
}

struct RowRejection {
    reason: Reason,
    detail: String,
}

impl<'target> Row<'target> {
    fn new(target: &'target ResolvedTarget) -> Self {
        let cells = Vec::with_capacity(target.columns.len());
        Self { target, cells, unsure: Vec::new(), length: 0, rejected: None }
    }

    fn push(&mut self, given: Option<ValueRef<'_>>, range: Range<usize>) {
        if let Some(column) = self.target.columns.get(self.length).filter(|_| self.rejected.is_none()) {
            match self.cell(given, range, column) {
                Ok(cell) => self.cells.push(cell),
                Err(rejected) => self.rejected = Some(rejected),
            }
        }
        self.length += 1;
    }

    fn cell(
        &mut self,
        given: Option<ValueRef<'_>>,
        range: Range<usize>,
        column: &TableColumn,
    ) -> Result<Cell, RowRejection> {
        let Some(given) = given else {
            // A trigger may fill it in before Postgres checks.
            let allowed = !column.not_null || self.target.table.has_before_triggers;
            let rejected = || RowRejection::new(column, Reason::Constraint, "NULL is not allowed");
            return allowed.then_some(Cell::Null).ok_or_else(rejected);
        };
        if let Some((reason, rule)) = given.text().and_then(|text| wrong_length(text, column)) {
            return Err(RowRejection::new(column, reason, &rule));
        }
        let input = match convert(given, column) {
            Verdict::Accept(input) => input,
            Verdict::Unsure(input) => {
                self.unsure.push(self.length);
                input
            }
            Verdict::Reject(rejection) => {
                return Err(RowRejection::new(column, rejection.reason, &rejection.rule));
            }
        };
        Ok(match input {
            Input::AsGiven => Cell::Given(range),
            Input::Made(text) => Cell::Made(text),
        })
    }
}

impl RowRejection {
    fn new(column: &TableColumn, reason: Reason, rule: &str) -> Self {
        Self { reason, detail: format!("column {}: {rule}", column.name) }
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
        ResolvedTarget::resolve(&table(vec![short, strict]), &v1::Target { table: "logins".into(), columns })
            .unwrap()
    }

    fn record(values: &[Option<&str>]) -> MaskedRecord {
        let value = |text: Option<&str>| Value { kind: text.map(|text| Sent::Text(text.to_owned())) };
        MaskedRecord {
            message_id: "m".into(),
            sent_timestamp_ms: 1,
            values: values.iter().copied().map(value).collect(),
            last_receive: false,
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
    fn values_beyond_the_last_column_are_counted_and_not_kept() {
        let target = target();
        let mut row = Row::new(&target);
        for _ in 0..1_000_000 {
            row.push(Some(ValueRef::Text("x")), 0..1);
        }
        assert_eq!((row.length, row.cells.len(), row.cells.capacity()), (1_000_000, 2, 2));
    }

    #[test]
    fn inputs_are_the_given_texts_or_what_they_were_made_into() {
        let number = TableColumn { kind: ColumnKind::Integer { least: 0, greatest: 99 }, ..column("number") };
        let other = TableColumn { kind: ColumnKind::Other, ..column("other") };
        let columns = ["text", "number", "other", "null"].map(str::to_owned).to_vec();
        let table = table(vec![column("text"), number, other, column("null")]);
        let target =
            ResolvedTarget::resolve(&table, &v1::Target { table: "logins".into(), columns }).unwrap();
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
        let inputs: Vec<_> = (0..record.columns()).map(|column| record.input(column)).collect();
        assert_eq!(inputs, [Some(&b"true"[..]), Some(b"7"), Some(b"1 day"), None]);
        assert_eq!(record.message_id(), "m");
        let unsure: Vec<_> = (0..4).map(|column| record.unsure_input(column)).collect();
        assert_eq!(unsure, [None, None, Some("1 day"), None]);
        assert_eq!(format!("{record:?}"), "Record { message_id: \"m\", .. }");
    }
}
