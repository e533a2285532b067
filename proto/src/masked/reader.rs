//! Reads encoded masked records in place, without copying a value.

use std::fmt;
use std::ops::Range;

use crate::wire::{Malformed, WireFields, WireValue};

/// A value of a masked record that is not NULL, borrowed from the encoded record. Its `Debug` shows the kind
/// and never the value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ValueRef<'a> {
    /// Any text.
    Text(&'a str),
    /// A number in the text that the producer wrote, so that no digit is lost.
    Number(&'a str),
    /// True or false.
    Boolean(bool),
    /// An object or array as JSON text.
    Json(&'a str),
}

/// The fields of a record that are not values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordHeader<'a> {
    /// The message's id in its queue.
    pub message_id: &'a str,
    /// When the producer's message reached the queue, in milliseconds since 1970.
    pub sent_timestamp_ms: i64,
    /// Whether the queue will not deliver the message again by itself.
    pub last_receive: bool,
    /// How many rows the record has, when it says so; otherwise it has one.
    pub rows: Option<u32>,
}

/// Reads an encoded [`MaskedRecord`](crate::v1::MaskedRecord). `take` gets every value in order, `None` for
/// NULL, with the byte range of its text in `record`. Unknown fields are skipped.
///
/// # Errors
///
/// When `record` is not a masked record. `take` may have got values before that.
pub fn read_record<'a>(
    record: &'a [u8],
    mut take: impl FnMut(Option<ValueRef<'a>>, Range<usize>),
) -> Result<RecordHeader<'a>, Malformed> {
    let mut heading = RecordHeader::default();
    let mut fields = WireFields::of(record);
    while let Some(field) = fields.next() {
        match field? {
            (1, WireValue::Bytes(id)) => heading.message_id = text(id)?,
            (2, WireValue::Varint(sent)) => heading.sent_timestamp_ms = sent.cast_signed(),
            (3, WireValue::Bytes(value)) => {
                let (given, place) = read_value(value)?;
                let begin = record.len() - fields.left() - value.len();
                take(given, begin + place.start..begin + place.end);
            }
            (4, WireValue::Varint(last)) => heading.last_receive = last != 0,
            // As every decoder: the lower 32 bits count.
            (5, WireValue::Varint(rows)) => {
                heading.rows = u32::try_from(rows & u64::from(u32::MAX)).ok();
            }
            (1..=5, _) | (_, WireValue::Group) => return Err(Malformed),
            _ => {}
        }
    }
    Ok(heading)
}

/// The message id of an encoded record; empty when the record cannot be read.
pub fn message_id(record: &[u8]) -> &str {
    read_record(record, |_, _| {}).map_or("", |heading| heading.message_id)
}

/// The last of the kinds that are set counts, as in every decoder of a `oneof`.
fn read_value(value: &[u8]) -> Result<(Option<ValueRef<'_>>, Range<usize>), Malformed> {
    let (mut given, mut place) = (None, 0..0);
    let mut fields = WireFields::of(value);
    while let Some(field) = fields.next() {
        match field? {
            (number @ (1 | 2 | 4), WireValue::Bytes(content)) => {
                let text = text(content)?;
                given = Some(match number {
                    1 => ValueRef::Text(text),
                    2 => ValueRef::Number(text),
                    _ => ValueRef::Json(text),
                });
                let end = value.len() - fields.left();
                place = end - content.len()..end;
            }
            (3, WireValue::Varint(boolean)) => (given, place) = (Some(ValueRef::Boolean(boolean != 0)), 0..0),
            (1..=4, _) | (_, WireValue::Group) => return Err(Malformed),
            _ => {}
        }
    }
    Ok((given, place))
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

impl<'a> ValueRef<'a> {
    /// The text of the value; `None` for a boolean.
    pub fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) | Self::Number(text) | Self::Json(text) => Some(text),
            Self::Boolean(_) => None,
        }
    }
}

/// Shows the kind and never the value.
impl fmt::Debug for ValueRef<'_> {
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
    use crate::v1::value::Kind;
    use crate::v1::{MaskedBatch, MaskedRecord, Value};
    use proptest::prelude::*;
    use prost::Message;

    /// The record as [`read_record`] reads it, in prost's types.
    fn read(record: &[u8]) -> Result<MaskedRecord, Malformed> {
        let mut values = Vec::new();
        let heading = read_record(record, |given, place| {
            if let Some(text) = given.and_then(ValueRef::text) {
                assert_eq!(record.get(place), Some(text.as_bytes()));
            }
            let kind = given.map(|given| match given {
                ValueRef::Text(text) => Kind::Text(text.to_owned()),
                ValueRef::Number(text) => Kind::Number(text.to_owned()),
                ValueRef::Boolean(boolean) => Kind::Boolean(boolean),
                ValueRef::Json(text) => Kind::Json(text.to_owned()),
            });
            values.push(Value { kind });
        })?;
        let RecordHeader { message_id, sent_timestamp_ms, last_receive, rows } = heading;
        Ok(MaskedRecord { message_id: message_id.to_owned(), sent_timestamp_ms, values, last_receive, rows })
    }

    fn records() -> impl Strategy<Value = MaskedRecord> {
        let kind = prop_oneof![
            any::<String>().prop_map(Kind::Text),
            any::<String>().prop_map(Kind::Number),
            any::<bool>().prop_map(Kind::Boolean),
            any::<String>().prop_map(Kind::Json),
        ];
        let values = prop::collection::vec(prop::option::of(kind).prop_map(|kind| Value { kind }), 0..9);
        let record = (any::<String>(), any::<i64>(), values, any::<bool>(), any::<Option<u32>>());
        record.prop_map(|(message_id, sent_timestamp_ms, values, last_receive, rows)| MaskedRecord {
            message_id,
            sent_timestamp_ms,
            values,
            last_receive,
            rows,
        })
    }

    fn field(number: u8, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | kind];
        if kind == 2 {
            prost::encoding::encode_varint(content.len().try_into().unwrap(), &mut field);
        }
        [field, content.to_vec()].concat()
    }

    /// Fields that a record may have, known and unknown, with contents that fit and that do not.
    fn fields() -> impl Strategy<Value = Vec<u8>> {
        let varint = any::<u64>().prop_map(|number| {
            let mut content = Vec::new();
            prost::encoding::encode_varint(number, &mut content);
            (0, content)
        });
        let content = prop_oneof![
            2 => varint,
            1 => any::<[u8; 8]>().prop_map(|bytes| (1, bytes.to_vec())),
            4 => ".{0,20}".prop_map(|text| (2, text.into_bytes())),
            1 => (100_usize..20_000).prop_map(|length| (2, vec![b'x'; length])),
            1 => prop::collection::vec(any::<u8>(), 0..6).prop_map(|bytes| (2, bytes)),
            1 => any::<[u8; 4]>().prop_map(|bytes| (5, bytes.to_vec())),
        ];
        let leaf = (1u8..7, content).prop_map(|(number, (kind, content))| field(number, kind, &content));
        let value =
            prop::collection::vec(leaf.clone(), 0..3).prop_map(|fields| field(3, 2, &fields.concat()));
        prop::collection::vec(prop_oneof![leaf, value], 0..6).prop_map(|fields| fields.concat())
    }

    #[test]
    fn groups_are_refused_because_they_could_hide_a_field() {
        // A group of number 9 with a message id in it.
        assert_eq!(read(&[9 << 3 | 3, 1 << 3 | 2, 1, b'x', 9 << 3 | 4]), Err(Malformed));
        assert_eq!(read(&[3 << 3 | 2, 2, 9 << 3 | 3, 9 << 3 | 4]), Err(Malformed));
    }

    #[test]
    fn a_record_that_cannot_be_read_has_an_empty_message_id() {
        assert_eq!(message_id(&[1 << 3 | 2, 1, b'x']), "x");
        assert_eq!(message_id(&[1 << 3 | 2, 1, 0xff]), "");
        assert_eq!(message_id(&[1 << 3 | 2, 9]), "");
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_encoded(records in prop::collection::vec(records(), 0..5)) {
            let batch = MaskedBatch { records: MaskedBatch::encoded(records.clone()), ..MaskedBatch::default() };
            let read: Vec<_> = batch.records.iter().map(|record| read(record).unwrap()).collect();
            prop_assert_eq!(&read, &records);
            prop_assert_eq!(batch.decoded().unwrap(), records);
        }

        #[test]
        fn any_fields_are_read_as_prost_decodes_them(bytes in fields()) {
            // Where prost expects a value and finds a text, the text can look like a group to it.
            let read = read(&bytes).ok();
            let decoded = MaskedRecord::decode(bytes.as_slice()).ok();
            if read.is_some() || !has_group(&bytes) {
                prop_assert_eq!(read, decoded);
            }
        }

        #[test]
        fn broken_fields_are_refused_or_read_as_prost_decodes_them(bytes in fields(), cut in 0usize..8, end in 0usize..8) {
            let bytes = bytes.get(cut..bytes.len().saturating_sub(end)).unwrap_or_default();
            if let Ok(read) = read(bytes) {
                prop_assert_eq!(Ok(read), MaskedRecord::decode(bytes));
            }
        }
    }

    /// Whether there is a group in a record or in one of its values.
    fn has_group(record: &[u8]) -> bool {
        WireFields::of(record).map_while(Result::ok).any(|(number, content)| match content {
            WireValue::Group => true,
            WireValue::Bytes(value) if number == 3 => has_group(value),
            _ => false,
        })
    }
}
