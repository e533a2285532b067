//! Masked records stay as they were encoded until somebody needs what is in them: a masker encodes each once, and a writer
//! reads values where they lie, in the message as it came.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use prost::{DecodeError, Message};

use crate::v1::{MaskedBatch, MaskedRecord};
use crate::wire::{Content, Fields, Malformed};

/// A value of a masked record, where it lies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Given<'a> {
    Text(&'a str),
    /// In the text that the producer wrote.
    Number(&'a str),
    Boolean(bool),
    /// An object or array.
    Json(&'a str),
}

/// What a record has beside its values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heading<'a> {
    pub message_id: &'a str,
    pub sent_timestamp_ms: i64,
}

/// Encodes records one after the other into memory that they share.
#[derive(Default)]
pub struct RecordEncoder {
    encoded: Vec<u8>,
    /// Where each record ends.
    ends: Vec<usize>,
}

impl RecordEncoder {
    /// With room for so many bytes; it grows when they are not enough.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { encoded: Vec::with_capacity(bytes), ends: Vec::new() }
    }

    /// Adds a record; its size in bytes.
    pub fn push(&mut self, record: &MaskedRecord) -> usize {
        let before = self.encoded.len();
        // Memory that grows is never too small, which is the only error.
        record.encode(&mut self.encoded).unwrap_or_default();
        self.ends.push(self.encoded.len());
        self.encoded.len() - before
    }

    /// Takes out the record that was added last.
    pub fn pop(&mut self) {
        self.ends.pop();
        self.encoded.truncate(self.ends.last().copied().unwrap_or_default());
    }

    /// The records as a batch holds them.
    pub fn finish(mut self) -> Vec<Bytes> {
        if self.encoded.len() < self.encoded.capacity() / 2 {
            self.encoded.shrink_to_fit();
        }
        let encoded = Bytes::from(self.encoded);
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| encoded.slice(begin..*end)).collect()
    }
}

/// Never a value.
impl fmt::Debug for RecordEncoder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RecordEncoder").field("records", &self.ends.len()).finish_non_exhaustive()
    }
}

impl MaskedBatch {
    /// Records as a batch holds them.
    pub fn encoded(records: impl IntoIterator<Item = impl Borrow<MaskedRecord>>) -> Vec<Bytes> {
        let mut encoder = RecordEncoder::default();
        for record in records {
            encoder.push(record.borrow());
        }
        encoder.finish()
    }

    /// The batch's records, copied out of it.
    pub fn decoded(&self) -> Result<Vec<MaskedRecord>, DecodeError> {
        self.records.iter().map(|record| MaskedRecord::decode(record.as_ref())).collect()
    }
}

/// Reads an encoded [`MaskedRecord`]. `take` gets every value, in order, `None` for NULL, with the place of its text in
/// `record`. Unknown fields are skipped.
pub fn read_record<'a>(
    record: &'a [u8],
    mut take: impl FnMut(Option<Given<'a>>, Range<usize>),
) -> Result<Heading<'a>, Malformed> {
    let mut heading = Heading::default();
    let mut fields = Fields::of(record);
    while let Some(field) = fields.next() {
        match field? {
            (1, Content::Bytes(id)) => heading.message_id = text(id)?,
            (2, Content::Varint(sent)) => heading.sent_timestamp_ms = sent.cast_signed(),
            (3, Content::Bytes(value)) => {
                let (given, place) = read_value(value)?;
                let begin = record.len() - fields.left() - value.len();
                take(given, begin + place.start..begin + place.end);
            }
            (1..=3, _) | (_, Content::Group) => return Err(Malformed),
            _ => {}
        }
    }
    Ok(heading)
}

/// The message id of an encoded record, empty when it cannot be read.
pub fn message_id(record: &[u8]) -> &str {
    read_record(record, |_, _| {}).map_or("", |heading| heading.message_id)
}

/// The last of the kinds that are set counts, as with any decoder of a `oneof`.
fn read_value(value: &[u8]) -> Result<(Option<Given<'_>>, Range<usize>), Malformed> {
    let (mut given, mut place) = (None, 0..0);
    let mut fields = Fields::of(value);
    while let Some(field) = fields.next() {
        match field? {
            (number @ (1 | 2 | 4), Content::Bytes(content)) => {
                let text = text(content)?;
                given = Some(match number {
                    1 => Given::Text(text),
                    2 => Given::Number(text),
                    _ => Given::Json(text),
                });
                let end = value.len() - fields.left();
                place = end - content.len()..end;
            }
            (3, Content::Varint(boolean)) => (given, place) = (Some(Given::Boolean(boolean != 0)), 0..0),
            (1..=4, _) | (_, Content::Group) => return Err(Malformed),
            _ => {}
        }
    }
    Ok((given, place))
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

impl<'a> Given<'a> {
    /// What was written, unless it was a boolean.
    pub fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) | Self::Number(text) | Self::Json(text) => Some(text),
            Self::Boolean(_) => None,
        }
    }
}

/// Never the value.
impl fmt::Debug for Given<'_> {
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
    use crate::v1::Value;
    use crate::v1::value::Kind;
    use proptest::prelude::*;

    /// What [`read_record`] makes of a record, in the types that prost makes of it.
    fn read(record: &[u8]) -> Result<MaskedRecord, Malformed> {
        let mut values = Vec::new();
        let heading = read_record(record, |given, place| {
            if let Some(text) = given.and_then(Given::text) {
                assert_eq!(record.get(place), Some(text.as_bytes()));
            }
            let kind = given.map(|given| match given {
                Given::Text(text) => Kind::Text(text.to_owned()),
                Given::Number(text) => Kind::Number(text.to_owned()),
                Given::Boolean(boolean) => Kind::Boolean(boolean),
                Given::Json(text) => Kind::Json(text.to_owned()),
            });
            values.push(Value { kind });
        })?;
        let Heading { message_id, sent_timestamp_ms } = heading;
        Ok(MaskedRecord { message_id: message_id.to_owned(), sent_timestamp_ms, values })
    }

    fn records() -> impl Strategy<Value = MaskedRecord> {
        let kind = prop_oneof![
            any::<String>().prop_map(Kind::Text),
            any::<String>().prop_map(Kind::Number),
            any::<bool>().prop_map(Kind::Boolean),
            any::<String>().prop_map(Kind::Json),
        ];
        let values = prop::collection::vec(prop::option::of(kind).prop_map(|kind| Value { kind }), 0..9);
        (any::<String>(), any::<i64>(), values).prop_map(|(message_id, sent_timestamp_ms, values)| {
            MaskedRecord { message_id, sent_timestamp_ms, values }
        })
    }

    fn field(number: u8, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | kind];
        if kind == 2 {
            prost::encoding::encode_varint(content.len().try_into().unwrap(), &mut field);
        }
        [field, content.to_vec()].concat()
    }

    /// Fields that a record may have, known ones and others, with contents that fit and others.
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
        let leaf = (1u8..6, content).prop_map(|(number, (kind, content))| field(number, kind, &content));
        let value =
            prop::collection::vec(leaf.clone(), 0..3).prop_map(|fields| field(3, 2, &fields.concat()));
        prop::collection::vec(prop_oneof![leaf, value], 0..6).prop_map(|fields| fields.concat())
    }

    #[test]
    fn what_is_taken_out_is_gone() {
        let record = |id: &str| MaskedRecord { message_id: id.to_owned(), ..MaskedRecord::default() };
        let mut encoder = RecordEncoder::default();
        assert_eq!(encoder.push(&record("a")), record("a").encoded_len());
        encoder.push(&record("bcd"));
        encoder.pop();
        encoder.push(&record("e"));
        let records = encoder.finish();
        let ids: Vec<_> = records.iter().map(|record| message_id(record)).collect();
        assert_eq!(ids, ["a", "e"]);
        let mut nothing = RecordEncoder::default();
        nothing.pop();
        assert!(nothing.finish().is_empty());
    }

    #[test]
    fn groups_are_refused_where_they_would_hide_a_field() {
        // A group of number 9 with a message id in it.
        assert_eq!(read(&[9 << 3 | 3, 1 << 3 | 2, 1, b'x', 9 << 3 | 4]), Err(Malformed));
        assert_eq!(read(&[3 << 3 | 2, 2, 9 << 3 | 3, 9 << 3 | 4]), Err(Malformed));
    }

    #[test]
    fn what_cannot_be_read_has_no_message_id() {
        assert_eq!(message_id(&[1 << 3 | 2, 1, b'x']), "x");
        assert_eq!(message_id(&[1 << 3 | 2, 1, 0xff]), "");
        assert_eq!(message_id(&[1 << 3 | 2, 9]), "");
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_encoded(records in prop::collection::vec(records(), 0..5)) {
            let batch = MaskedBatch { records: MaskedBatch::encoded(records.clone()), ..MaskedBatch::default() };
            let read: Vec<_> = batch.records.iter().map(|record| read(record).unwrap()).collect();
            prop_assert_eq!(&read, &records);
            prop_assert_eq!(batch.decoded().unwrap(), records);
        }

        #[test]
        fn any_fields_are_what_prost_takes_them_for(bytes in fields()) {
            // A text where only values may be can look like a group to prost alone.
            let read = read(&bytes).ok();
            let decoded = MaskedRecord::decode(bytes.as_slice()).ok();
            if read.is_some() || !has_group(&bytes) {
                prop_assert_eq!(read, decoded);
            }
        }

        #[test]
        fn broken_fields_are_refused_or_what_prost_takes_them_for(bytes in fields(), cut in 0usize..8, end in 0usize..8) {
            let bytes = bytes.get(cut..bytes.len().saturating_sub(end)).unwrap_or_default();
            if let Ok(read) = read(bytes) {
                prop_assert_eq!(Ok(read), MaskedRecord::decode(bytes));
            }
        }
    }

    /// Whether there is a group in a record or in one of its values.
    fn has_group(record: &[u8]) -> bool {
        Fields::of(record).map_while(Result::ok).any(|(number, content)| match content {
            Content::Group => true,
            Content::Bytes(value) if number == 3 => has_group(value),
            _ => false,
        })
    }
}
