//! Applies the policy to one message.

mod around;
#[cfg(test)]
mod body_tests;
mod column;
mod rejection;
mod scope;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use veilpost_proto::MAX_ROWS;
use veilpost_proto::v1::{MaskedRecord, RawRecord, Reason, Value};
use veilpost_runtime::telemetry::OutageLog;
use veilpost_runtime::{BadSettings, numbers};

use crate::body::{Body, BodyReader, looks_like};
use crate::policy::{Policy, UnknownRecord};
use crate::transform::HmacKeys;
use around::Around;
use column::ColumnMask;
pub use rejection::Rejected;
use scope::{Scope, Trees};

/// A policy that is ready to be applied: with its pointers as a tree, and with its keys.
#[derive(Debug)]
pub struct Mask {
    /// `None` when the body itself is the record.
    reader: Option<BodyReader>,
    trees: Trees,
    columns: Vec<ColumnMask>,
    /// Whether any value is from a field of the record.
    has_fields: bool,
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
    /// What the first of them looks like, and what to write in the policy for it; never a value.
    pub guess: Option<&'static str>,
}

/// The rows of a message, as they are made.
#[derive(Default)]
struct Rows<'m> {
    values: Vec<Value>,
    unreadable_versions: Vec<&'m str>,
    unknown: usize,
    guess: Option<&'static str>,
}

impl Mask {
    /// Makes a policy ready to be applied.
    ///
    /// # Errors
    /// When the policy names a key that is not among `keys`.
    pub fn new(policy: &Policy, keys: &HmacKeys) -> Result<Self, BadSettings> {
        let mut trees = Trees::new();
        let columns = policy.columns.iter().map(|rule| ColumnMask::new(rule, &mut trees, keys));
        let columns: Vec<_> = columns.collect::<Result<_, _>>()?;
        Ok(Self {
            reader: BodyReader::new(&policy.body),
            trees,
            has_fields: columns.iter().any(ColumnMask::is_of_a_field),
            columns,
            unknown_record: policy.unknown_record,
            unknown: OutageLog::new(),
        })
    }

    /// Whether the policy needs the messages' attributes.
    pub(crate) fn reads_attributes(&self) -> bool {
        self.columns.iter().any(ColumnMask::is_of_an_attribute)
    }

    /// Masks one message; `now` is the time of ingestion.
    ///
    /// # Errors
    /// When the message can never be stored as it is: a value breaks one of the policy's rules, or the body
    /// is not what the policy says. One bad record rejects the message. The error never shows a value.
    pub fn apply(&self, message: &RawRecord, now: Timestamp) -> Result<Masked<'_>, Rejected> {
        let body = message.body.as_deref().ok_or_else(Rejected::no_body)?;
        let mut rows = Rows { values: Vec::with_capacity(self.columns.len()), ..Rows::default() };
        let number_of_rows = match &self.reader {
            None => {
                self.row(body, &[], message, now, &mut rows).map_err(|rejected| explained(rejected, body))?;
                None
            }
            Some(reader) => self.rows(reader, message, body, now, &mut rows)?,
        };
        let Rows { values, unreadable_versions, unknown: unknown_rows, guess } = rows;
        let record = MaskedRecord {
            message_id: message.message_id.clone(),
            sent_timestamp_ms: message.sent_timestamp_ms,
            values,
            last_receive: message.last_receive,
            rows: number_of_rows,
        };
        Ok(Masked { record, unreadable_versions, unknown_rows, guess })
    }

    /// Makes all rows of a message. `None`: it has one, as messages of every policy without arrays have.
    fn rows<'m>(
        &'m self,
        reader: &BodyReader,
        message: &RawRecord,
        body: &[u8],
        now: Timestamp,
        rows: &mut Rows<'m>,
    ) -> Result<Option<u32>, Rejected> {
        let opened = reader.open(body).map_err(|flaw| explained(flaw.into(), body))?;
        let elements = reader.elements(&opened).map_err(|flaw| explained(flaw.into(), &opened.event))?;
        rows.values.reserve(elements.len().saturating_mul(self.columns.len()));
        let mut around = Around::new(&self.trees, &opened)?;
        for (index, element) in elements.iter().enumerate() {
            let text = element.text.as_bytes();
            let made = match around.of(element) {
                Ok(around) => self.row(text, around, message, now, rows),
                Err(flaw) => Err(flaw.into()),
            };
            made.map_err(|rejected| {
                let explained = explained(rejected, text);
                if reader.has_records() { explained.in_element(index) } else { explained }
            })?;
        }
        Ok(reader.has_records().then(|| numbers::to_u32(elements.len())))
    }

    fn row<'m>(
        &'m self,
        text: &[u8],
        around: &[Body<'_>],
        message: &RawRecord,
        now: Timestamp,
        rows: &mut Rows<'m>,
    ) -> Result<(), Rejected> {
        let scope = Scope { body: self.trees.record.find(text)?, around, message, now };
        if self.has_fields && !self.knows(&scope) {
            if self.unknown_record == UnknownRecord::Reject {
                return Err(Rejected::unknown());
            }
            if rows.unknown == 0 {
                rows.guess = looks_like(text);
            }
            rows.unknown += 1;
        }
        for column in &self.columns {
            let kind = column.value(&scope)?;
            if !column.has_field(&scope) {
                column.count_absent();
            } else if kind.is_none() && column.is_unreadable(&scope) {
                rows.unreadable_versions.push(column.name());
            }
            rows.values.push(Value { kind });
        }
        Ok(())
    }

    /// Whether the record has any of the policy's fields.
    fn knows(&self, scope: &Scope<'_>) -> bool {
        self.columns.iter().any(|column| column.is_of_a_field() && column.has_field(scope))
    }
}

/// Adds to a rejection what the body looks like, when it is not what the policy expects.
fn explained(rejected: Rejected, body: &[u8]) -> Rejected {
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

// What the policy allows, the contract allows.
const _: () = assert!(crate::policy::MOST_RECORDS <= MAX_ROWS);
