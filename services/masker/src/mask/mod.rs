//! Applies the policy to one message.

#[cfg(test)]
mod body_tests;
mod column;
mod rejection;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use veilpost_proto::MAX_ROWS;
use veilpost_proto::v1::{MaskedRecord, RawRecord, Reason, Value};
use veilpost_runtime::telemetry::OutageLog;
use veilpost_runtime::{BadSettings, numbers};

use crate::body::{Body, BodyReader, FieldTree, looks_like};
use crate::policy::{Policy, UnknownRecord};
use crate::transform::HmacKeys;
use column::ColumnMask;
pub use rejection::Rejected;

/// A policy that is ready to be applied: with its pointers as a tree, and with its keys.
#[derive(Debug)]
pub struct Mask {
    /// `None` when the body itself is the record.
    reader: Option<BodyReader>,
    fields: FieldTree,
    columns: Vec<ColumnMask>,
    unknown_record: UnknownRecord,
    /// Of rows with none of the policy's fields.
    pub(crate) unknown: OutageLog,
}

/// A masked record, which may travel on.
#[allow(missing_debug_implementations, reason = "holds what producers wrote")]
pub struct Masked<'m> {
    pub record: MaskedRecord,
    /// The columns that are NULL because their text is not a version.
    pub unreadable_versions: Vec<&'m str>,
    /// How many of its rows have none of the policy's fields.
    pub unknown_rows: usize,
}

/// The rows of a message, as they are made.
#[derive(Default)]
struct Rows<'m> {
    values: Vec<Value>,
    unreadable_versions: Vec<&'m str>,
    unknown: usize,
}

impl Mask {
    /// Makes a policy ready to be applied.
    ///
    /// # Errors
    /// When the policy names a key that is not among `keys`.
    pub fn new(policy: &Policy, keys: &HmacKeys) -> Result<Self, BadSettings> {
        let mut fields = FieldTree::new();
        let columns = policy.columns.iter().map(|rule| ColumnMask::new(rule, &mut fields, keys));
        let columns = columns.collect::<Result<_, _>>()?;
        let reader = BodyReader::new(&policy.body);
        let (unknown_record, unknown) = (policy.unknown_record, OutageLog::new());
        Ok(Self { reader, fields, columns, unknown_record, unknown })
    }

    /// Masks one message; `now` is the time of ingestion.
    ///
    /// # Errors
    /// When the message can never be stored as it is: a value breaks one of the policy's rules, or the body is
    /// not what the policy says. One bad record rejects the message. The error never shows a value.
    pub fn apply(&self, record: &RawRecord, now: Timestamp) -> Result<Masked<'_>, Rejected> {
        let body = record.body.as_deref().ok_or_else(Rejected::no_body)?;
        let mut rows = Rows { values: Vec::with_capacity(self.columns.len()), ..Rows::default() };
        let number_of_rows = match &self.reader {
            None => {
                self.row(body, record, now, &mut rows).map_err(|rejected| self.explained(rejected, body))?;
                None
            }
            Some(reader) => self.rows(reader, body, record, now, &mut rows)?,
        };
        let Rows { values, unreadable_versions, unknown: unknown_rows } = rows;
        let record = MaskedRecord {
            message_id: record.message_id.clone(),
            sent_timestamp_ms: record.sent_timestamp_ms,
            values,
            last_receive: record.last_receive,
            rows: number_of_rows,
        };
        Ok(Masked { record, unreadable_versions, unknown_rows })
    }

    /// Makes all rows of a message. `None`: it has one, as messages of every policy without arrays have.
    fn rows<'m>(
        &'m self,
        reader: &BodyReader,
        body: &[u8],
        record: &RawRecord,
        now: Timestamp,
        rows: &mut Rows<'m>,
    ) -> Result<Option<u32>, Rejected> {
        let opened = reader.open(body).map_err(|flaw| self.explained(flaw.into(), body))?;
        let elements = reader.elements(&opened).map_err(|flaw| self.explained(flaw.into(), &opened.event))?;
        rows.values.reserve(elements.len().saturating_mul(self.columns.len()));
        for (index, element) in elements.iter().enumerate() {
            self.row(element.text.as_bytes(), record, now, rows).map_err(|rejected| {
                let explained = self.explained(rejected, element.text.as_bytes());
                if reader.has_records() { explained.in_element(index) } else { explained }
            })?;
        }
        Ok(reader.has_records().then(|| numbers::to_u32(elements.len())))
    }

    fn row<'m>(
        &'m self,
        text: &[u8],
        record: &RawRecord,
        now: Timestamp,
        rows: &mut Rows<'m>,
    ) -> Result<(), Rejected> {
        let body = self.fields.find(text)?;
        if !self.knows(&body) {
            if self.unknown_record == UnknownRecord::Reject {
                return Err(Rejected::unknown());
            }
            rows.unknown += 1;
        }
        for column in &self.columns {
            let kind = column.value(&body, record, now)?;
            if !column.has_field(&body) {
                column.count_absent();
            } else if kind.is_none() && column.is_unreadable(&body) {
                rows.unreadable_versions.push(column.name());
            }
            rows.values.push(Value { kind });
        }
        Ok(())
    }

    /// Whether the body has any of the policy's fields.
    fn knows(&self, body: &Body<'_>) -> bool {
        self.columns.iter().any(|column| !column.is_whole_body() && column.has_field(body))
    }

    /// Adds to a rejection what the body looks like, when it is not what the policy expects.
    fn explained(&self, rejected: Rejected, body: &[u8]) -> Rejected {
        let is_of_whole = matches!(
            rejected.reason,
            Reason::NotJson
                | Reason::NotAnObject
                | Reason::UnknownRecord
                | Reason::NotWrapped
                | Reason::NotAnArray
        );
        match looks_like(body).filter(|_| is_of_whole) {
            Some(guess) => rejected.explained(guess),
            None => rejected,
        }
    }
}

// What the policy allows, the contract allows.
const _: () = assert!(crate::policy::MOST_RECORDS <= MAX_ROWS);
