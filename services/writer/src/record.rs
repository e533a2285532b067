//! Records as they wait for their commit, and the sheet on which their outcomes are written.

use tracing::Span;
use veilpost_proto::v1::{MaskedBatch, MaskedRecord, Outcome, Reason, Receipt, Rejection, Value};
use veilpost_runtime::telemetry;

use crate::catalogue::{Column, Target};
use crate::convert::{Verdict, convert};
use crate::ledger::Key;

/// A record whose values have been converted to the input of their columns' types.
#[derive(Debug)]
pub(crate) struct Record {
    /// Its place in its batch.
    pub(crate) position: usize,
    pub(crate) key: Key,
    pub(crate) sent_ms: i64,
    pub(crate) message_id: String,
    pub(crate) values: Vec<Option<String>>,
    /// The columns, by position, whose values only Postgres can judge.
    pub(crate) unsure: Vec<usize>,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Stored,
    Duplicate,
    Rejected(Reason, String),
    /// Neither stored nor rejected: the message stays in the queue.
    Left,
}

/// The outcomes of one batch, one by one.
#[derive(Debug)]
pub(crate) struct Sheet {
    outcomes: Vec<u8>,
    rejections: Vec<Rejection>,
}

impl Sheet {
    /// All records are left until something else is known.
    fn new(records: usize) -> Self {
        let left = byte(Outcome::Unspecified);
        Self { outcomes: vec![left; records], rejections: Vec::new() }
    }

    pub(crate) fn settle(&mut self, position: usize, fate: Fate) {
        let outcome = match fate {
            Fate::Stored => Outcome::Stored,
            Fate::Duplicate => Outcome::Duplicate,
            Fate::Left => Outcome::Unspecified,
            Fate::Rejected(reason, detail) => {
                let index = u32::try_from(position).unwrap_or(u32::MAX);
                self.rejections.push(Rejection { index, reason: reason.into(), detail });
                Outcome::Rejected
            }
        };
        if let Some(place) = self.outcomes.get_mut(position) {
            *place = byte(outcome);
        }
    }

    pub(crate) fn has_rejections(&self) -> bool {
        !self.rejections.is_empty()
    }

    pub(crate) fn into_receipt(self, batch_id: u64) -> Receipt {
        Receipt { batch_id, outcomes: self.outcomes, rejections: self.rejections }
    }
}

fn byte(outcome: Outcome) -> u8 {
    u8::try_from(i32::from(outcome)).unwrap_or_default()
}

/// Converts a batch's records; those that can never be stored are on the sheet already. Err holds the position of a
/// record whose number of values is not the target's.
pub(crate) fn prepare(batch: MaskedBatch, target: &Target) -> Result<(Vec<Record>, Sheet), usize> {
    let mut sheet = Sheet::new(batch.records.len());
    let mut records = Vec::with_capacity(batch.records.len());
    for (position, record) in batch.records.into_iter().enumerate() {
        if record.values.len() != target.columns.len() {
            return Err(position);
        }
        match prepare_record(&batch.pipeline, position, record, target) {
            Ok(record) => records.push(record),
            Err((message_id, fate)) => {
                note_rejection(&message_id, &fate);
                sheet.settle(position, fate);
            }
        }
    }
    Ok((records, sheet))
}

fn note_rejection(message_id: &str, fate: &Fate) {
    if let Fate::Rejected(reason, _) = fate {
        telemetry::note_rejection(&Span::current(), message_id, reason.name());
    }
}

fn prepare_record(
    pipeline: &str,
    position: usize,
    record: MaskedRecord,
    target: &Target,
) -> Result<Record, (String, Fate)> {
    let key = Key::new(pipeline, &record.message_id, record.sent_timestamp_ms);
    let mut prepared = Record {
        position,
        key,
        sent_ms: record.sent_timestamp_ms,
        message_id: record.message_id,
        values: Vec::with_capacity(record.values.len()),
        unsure: Vec::new(),
    };
    for (index, (value, column)) in record.values.into_iter().zip(&target.columns).enumerate() {
        let value = match prepare_value(value, column, target.table.has_before_triggers) {
            Ok(value) => value,
            Err(fate) => return Err((prepared.message_id, fate)),
        };
        if let Some((_, Sureness::Unsure)) = value {
            prepared.unsure.push(index);
        }
        prepared.values.push(value.map(|(text, _)| text));
    }
    Ok(prepared)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sureness {
    Sure,
    Unsure,
}

fn prepare_value(
    value: Value,
    column: &Column,
    has_before_triggers: bool,
) -> Result<Option<(String, Sureness)>, Fate> {
    let Some(given) = value.kind else {
        // A trigger may fill it in before Postgres checks.
        let refused = column.not_null && !has_before_triggers;
        return if refused {
            Err(rejected(column, Reason::Constraint, "NULL is not allowed"))
        } else {
            Ok(None)
        };
    };
    match convert(given, column) {
        Verdict::Accept(text) => Ok(Some((text, Sureness::Sure))),
        Verdict::Unsure(text) => Ok(Some((text, Sureness::Unsure))),
        Verdict::Reject(refusal) => Err(rejected(column, refusal.reason, &refusal.rule)),
    }
}

fn rejected(column: &Column, reason: Reason, rule: &str) -> Fate {
    Fate::Rejected(reason, format!("column {}: {rule}", column.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::tests::{column, table};
    use crate::catalogue::{Kind, TextLimit};
    use veilpost_proto::v1;
    use veilpost_proto::v1::value::Kind as Given;

    fn target() -> Target {
        let short = Column { kind: Kind::Text { limit: TextLimit::Characters(2) }, ..column("short") };
        let strict = Column { not_null: true, ..column("strict") };
        let columns = vec!["short".to_owned(), "strict".to_owned()];
        Target::resolve(&table(vec![short, strict]), &v1::Target { table: "logins".into(), columns }).unwrap()
    }

    fn record(values: &[Option<&str>]) -> MaskedRecord {
        let value = |text: Option<&str>| Value { kind: text.map(|text| Given::Text(text.to_owned())) };
        MaskedRecord {
            message_id: "m".into(),
            sent_timestamp_ms: 1,
            values: values.iter().copied().map(value).collect(),
        }
    }

    #[test]
    fn a_bad_record_does_not_cost_its_neighbours() {
        let records = vec![
            record(&[Some("ok"), Some("x")]),
            record(&[Some("too long"), Some("x")]),
            record(&[None, None]),
            record(&[None, Some("x")]),
        ];
        let batch = MaskedBatch { records, ..MaskedBatch::default() };
        let (prepared, sheet) = prepare(batch, &target()).unwrap();
        let positions: Vec<_> = prepared.iter().map(|record| record.position).collect();
        assert_eq!(positions, [0, 3]);
        let receipt = sheet.into_receipt(7);
        assert_eq!(receipt.outcomes, [0, 3, 3, 0]);
        let reasons: Vec<_> = receipt.rejections.iter().map(Rejection::reason).collect();
        assert_eq!(reasons, [Reason::TextTooLong, Reason::Constraint]);
        assert_eq!(receipt.rejections[0].detail, "column short: longer than 2 characters");
    }

    #[test]
    fn a_record_with_the_wrong_number_of_values_spoils_the_batch() {
        let batch = MaskedBatch { records: vec![record(&[None])], ..MaskedBatch::default() };
        assert_eq!(prepare(batch, &target()).unwrap_err(), 0);
    }
}
