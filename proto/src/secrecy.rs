//! `Debug` of the types that hold producers' values: it never shows a value.

use std::fmt;

use crate::masked::message_id;
use crate::v1::{Attribute, MaskedBatch, MaskedRecord, RawRecord, Value, attribute, value::Kind};

impl fmt::Debug for RawRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RawRecord").field("message_id", &self.message_id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Attribute {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Attribute").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for attribute::Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Text(_) => "text",
            Self::Binary(_) => "binary",
        })
    }
}

impl fmt::Debug for MaskedBatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.records.iter().map(|record| message_id(record)).collect();
        formatter
            .debug_struct("MaskedBatch")
            .field("id", &self.id)
            .field("pipeline", &self.pipeline)
            .field("records", &ids)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for MaskedRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MaskedRecord").field("message_id", &self.message_id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            None => formatter.write_str("NULL"),
            Some(kind) => kind.fmt(formatter),
        }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Text(_) => "text",
            Self::Number(_) => "number",
            Self::Boolean(_) => "boolean",
            Self::Json(_) => "json",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masked::RecordEncoder;
    use crate::v1::RawBatch;

    #[test]
    fn no_value_is_in_the_debug_output_of_a_batch() {
        let attributes = [attribute::Value::Text("secret".into()), attribute::Value::Binary("secret".into())]
            .map(|value| Attribute { name: "tenant".into(), value: Some(value) });
        let raw = RawRecord {
            message_id: "m1".into(),
            body: Some("secret".into()),
            attributes: attributes.to_vec(),
            ..RawRecord::default()
        };
        let value = Value { kind: Some(Kind::Text("secret".into())) };
        let masked =
            MaskedRecord { message_id: "m1".into(), values: vec![value.clone()], ..MaskedRecord::default() };
        let mut encoder = RecordEncoder::default();
        encoder.push(&masked);
        let shown = format!(
            "{:?} {:?} {attributes:?} {value:?} {encoder:?}",
            RawBatch { records: vec![raw], ..RawBatch::default() },
            MaskedBatch { records: MaskedBatch::encoded([masked]), ..MaskedBatch::default() }
        );
        assert!(shown.contains("m1") && !shown.contains("secret"), "{shown}");
    }
}
