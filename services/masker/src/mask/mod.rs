//! Applies the policy to one record.

mod column;
mod rejection;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use veilpost_proto::v1::{MaskedRecord, RawRecord, Reason, Value};
use veilpost_runtime::BadSettings;

use crate::body::{Body, FieldTree};
use crate::policy::{Policy, UnknownRecord};
use crate::transform::HmacKeys;
use column::ColumnMask;
pub use rejection::Rejected;

/// A policy that is ready to be applied: with its pointers as a tree, and with its keys.
#[derive(Debug)]
pub struct Mask {
    fields: FieldTree,
    columns: Vec<ColumnMask>,
    unknown_record: UnknownRecord,
}

/// A masked record, which may travel on.
#[allow(missing_debug_implementations, reason = "holds what producers wrote")]
pub struct Masked<'m> {
    pub record: MaskedRecord,
    /// The columns that are NULL because their text is not a version.
    pub unreadable_versions: Vec<&'m str>,
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
        Ok(Self { fields, columns, unknown_record: policy.unknown_record })
    }

    /// Masks one record; `now` is the time of ingestion.
    ///
    /// # Errors
    /// When the record can never be stored as it is: a value breaks one of the policy's rules, or the body is
    /// not a JSON object. The error never shows a value.
    pub fn apply(&self, record: &RawRecord, now: Timestamp) -> Result<Masked<'_>, Rejected> {
        let body = record.body.as_deref().ok_or(Reason::NoBody).and_then(|body| self.fields.find(body));
        let body = body.map_err(Rejected::whole)?;
        if self.unknown_record == UnknownRecord::Reject && !self.knows(&body) {
            return Err(Rejected::whole(Reason::UnknownRecord));
        }
        let mut values = Vec::with_capacity(self.columns.len());
        let mut unreadable_versions = Vec::new();
        for column in &self.columns {
            let kind = column.value(&body, record, now)?;
            if kind.is_none() && column.is_unreadable(&body) {
                unreadable_versions.push(column.name());
            }
            values.push(Value { kind });
        }
        let record = MaskedRecord {
            message_id: record.message_id.clone(),
            sent_timestamp_ms: record.sent_timestamp_ms,
            values,
            last_receive: record.last_receive,
        };
        Ok(Masked { record, unreadable_versions })
    }

    /// Whether the body has any of the policy's fields.
    fn knows(&self, body: &Body<'_>) -> bool {
        self.columns.iter().any(|column| !column.is_whole_body() && column.has_field(body))
    }
}
