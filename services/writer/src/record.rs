//! Records as they wait for their commit, and the sheet on which their outcomes are written.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use tracing::Span;
use veilpost_proto::masked::{Given, RecordHeader, message_id, read_record};
#[cfg(test)]
use veilpost_proto::v1;
use veilpost_proto::v1::{MaskedBatch, Outcome, Reason, Receipt, Rejection};
use veilpost_runtime::telemetry;

use crate::catalogue::{Column, Target};
use crate::convert::{Input, Verdict, convert};
use crate::ledger::Key;

/// A record whose values have been converted to the input of their columns' types.
pub(crate) struct Record {
    /// Its place in its batch.
    pub(crate) position: usize,
    pub(crate) key: Key,
    pub(crate) sent_ms: i64,
    /// As it came, still a part of its batch's message.
    encoded: Bytes,
    cells: Vec<Cell>,
    /// The columns, by position, whose values only Postgres can judge.
    pub(crate) unsure: Vec<usize>,
}

/// What goes into one column of one row.
enum Cell {
    Null,
    /// The text that lies here in the encoded record.
    Given(Range<usize>),
    Made(String),
}

/// Never a value.
impl fmt::Debug for Record {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Record").field("message_id", &self.message_id()).finish_non_exhaustive()
    }
}

impl Record {
    /// A record without columns, sent in 1970.
    #[cfg(test)]
    pub(crate) fn for_tests(position: usize) -> Self {
        let record = v1::MaskedRecord { message_id: position.to_string(), ..v1::MaskedRecord::default() };
        Self {
            position,
            key: Key::new("p", &record.message_id, 0),
            sent_ms: 0,
            encoded: prost::Message::encode_to_vec(&record).into(),
            cells: Vec::new(),
            unsure: Vec::new(),
        }
    }

    pub(crate) fn message_id(&self) -> &str {
        message_id(&self.encoded)
    }

    pub(crate) fn columns(&self) -> usize {
        self.cells.len()
    }

    /// The input of one column, None for NULL. It is UTF-8: values are read as texts before they become cells.
    pub(crate) fn input(&self, column: usize) -> Option<&[u8]> {
        match self.cells.get(column)? {
            Cell::Null => None,
            Cell::Given(place) => self.encoded.get(place.clone()),
            Cell::Made(text) => Some(text.as_bytes()),
        }
    }

    /// About as many bytes as all inputs have together: the record has a message id too, but some inputs are longer than what
    /// was given.
    pub(crate) fn bytes(&self) -> usize {
        self.encoded.len()
    }

    /// The input of one column that only Postgres can judge; None if it can be judged without, or is NULL.
    pub(crate) fn unsure_input(&self, column: usize) -> Option<&str> {
        let unsure = self.unsure.contains(&column);
        unsure.then(|| std::str::from_utf8(self.input(column)?).ok()).flatten()
    }
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

/// Why a batch is refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// The record at this position cannot be read.
    Unreadable(usize),
    /// The number of values of the record at this position is not the target's.
    Length(usize),
}

impl fmt::Display for Unfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(position) => write!(formatter, "record {position} cannot be read"),
            Self::Length(position) => {
                write!(
                    formatter,
                    "record {position} has another number of values than the target has columns"
                )
            }
        }
    }
}

/// Converts a batch's records; those that can never be stored are on the sheet already.
pub(crate) fn prepare(batch: MaskedBatch, target: &Target) -> Result<(Vec<Record>, Sheet), Unfit> {
    let mut sheet = Sheet::new(batch.records.len());
    let mut records = Vec::with_capacity(batch.records.len());
    for (position, encoded) in batch.records.into_iter().enumerate() {
        let mut row = Row::new(target);
        let heading = read_record(&encoded, |given, place| row.push(given, place));
        let RecordHeader { message_id, sent_timestamp_ms } =
            heading.map_err(|_| Unfit::Unreadable(position))?;
        let Row { cells, unsure, length, refused, .. } = row;
        if length != target.columns.len() {
            return Err(Unfit::Length(position));
        }
        if let Some(fate) = refused {
            note_rejection(message_id, &fate);
            sheet.settle(position, fate);
            continue;
        }
        let key = Key::new(&batch.pipeline, message_id, sent_timestamp_ms);
        records.push(Record { position, key, sent_ms: sent_timestamp_ms, encoded, cells, unsure });
    }
    Ok((records, sheet))
}

fn note_rejection(message_id: &str, fate: &Fate) {
    if let Fate::Rejected(reason, _) = fate {
        telemetry::note_rejection(&Span::current(), message_id, reason.name());
    }
}

/// A row in the making.
struct Row<'target> {
    target: &'target Target,
    cells: Vec<Cell>,
    unsure: Vec<usize>,
    /// How many values there were, also beyond the last column.
    length: usize,
    /// Why it can never be stored; values after the first that is refused are not looked at.
    refused: Option<Fate>,
}

impl<'target> Row<'target> {
    fn new(target: &'target Target) -> Self {
        let cells = Vec::with_capacity(target.columns.len());
        Self { target, cells, unsure: Vec::new(), length: 0, refused: None }
    }

    fn push(&mut self, given: Option<Given<'_>>, place: Range<usize>) {
        if let Some(column) = self.target.columns.get(self.length).filter(|_| self.refused.is_none()) {
            match self.cell(given, place, column) {
                Ok(cell) => self.cells.push(cell),
                Err(fate) => self.refused = Some(fate),
            }
        }
        self.length += 1;
    }

    fn cell(&mut self, given: Option<Given<'_>>, place: Range<usize>, column: &Column) -> Result<Cell, Fate> {
        let Some(given) = given else {
            // A trigger may fill it in before Postgres checks.
            let refused = column.not_null && !self.target.table.has_before_triggers;
            return if refused {
                Err(rejected(column, Reason::Constraint, "NULL is not allowed"))
            } else {
                Ok(Cell::Null)
            };
        };
        let input = match convert(given, column) {
            Verdict::Accept(input) => input,
            Verdict::Unsure(input) => {
                self.unsure.push(self.length);
                input
            }
            Verdict::Reject(refusal) => return Err(rejected(column, refusal.reason, &refusal.rule)),
        };
        Ok(match input {
            Input::AsGiven => Cell::Given(place),
            Input::Made(text) => Cell::Made(text),
        })
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
    use veilpost_proto::v1::value::Kind as Sent;
    use veilpost_proto::v1::{self, MaskedRecord, Value};

    fn target() -> Target {
        let short = Column { kind: Kind::Text { limit: TextLimit::Characters(2) }, ..column("short") };
        let strict = Column { not_null: true, ..column("strict") };
        let columns = vec!["short".to_owned(), "strict".to_owned()];
        Target::resolve(&table(vec![short, strict]), &v1::Target { table: "logins".into(), columns }).unwrap()
    }

    fn record(values: &[Option<&str>]) -> MaskedRecord {
        let value = |text: Option<&str>| Value { kind: text.map(|text| Sent::Text(text.to_owned())) };
        MaskedRecord {
            message_id: "m".into(),
            sent_timestamp_ms: 1,
            values: values.iter().copied().map(value).collect(),
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
        let (prepared, sheet) = prepare(batch(records), &target()).unwrap();
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
        for values in [&[None][..], &[Some("too long")], &[Some("ok"), Some("x"), None]] {
            assert_eq!(prepare(batch(vec![record(values)]), &target()).unwrap_err(), Unfit::Length(0));
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
            row.push(Some(Given::Text("x")), 0..1);
        }
        assert_eq!((row.length, row.cells.len(), row.cells.capacity()), (1_000_000, 2, 2));
    }

    #[test]
    fn inputs_are_the_given_texts_or_what_they_were_made_into() {
        let number = Column { kind: Kind::Integer { least: 0, greatest: 99 }, ..column("number") };
        let other = Column { kind: Kind::Other, ..column("other") };
        let columns = ["text", "number", "other", "null"].map(str::to_owned).to_vec();
        let table = table(vec![column("text"), number, other, column("null")]);
        let target = Target::resolve(&table, &v1::Target { table: "logins".into(), columns }).unwrap();
        let values = [
            Some(Sent::Boolean(true)),
            Some(Sent::Number("7.0".into())),
            Some(Sent::Text("1 day".into())),
            None,
        ];
        let values = values.map(|kind| Value { kind }).to_vec();
        let record = MaskedRecord { values, ..record(&[]) };
        let (records, _) = prepare(batch(vec![record]), &target).unwrap();
        let record = &records[0];
        let inputs: Vec<_> = (0..record.columns()).map(|column| record.input(column)).collect();
        assert_eq!(inputs, [Some(&b"true"[..]), Some(b"7"), Some(b"1 day"), None]);
        assert_eq!(record.message_id(), "m");
        let unsure: Vec<_> = (0..4).map(|column| record.unsure_input(column)).collect();
        assert_eq!(unsure, [None, None, Some("1 day"), None]);
        assert_eq!(format!("{record:?}"), "Record { message_id: \"m\", .. }");
    }
}
