//! Protobuf's wire format, read without copying. <https://protobuf.dev/programming-guides/encoding/>

/// The content of a field.
#[derive(Clone, Copy)]
pub(crate) enum WireValue<'a> {
    Varint(u64),
    /// Text, bytes or a message.
    Bytes(&'a [u8]),
    /// Four or eight bytes, which nothing in the contract has.
    Fixed,
    /// The beginning or the end of a group, a construct that proto3 no longer has. The fields in it are read
    /// as if they stood outside.
    Group,
}

/// Bytes that are not the encoded record that they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record cannot be read")]
pub struct Malformed;

/// Iterates over the fields of a message, by number, until the first that cannot be read.
#[derive(Clone, Copy)]
pub(crate) struct WireFields<'a> {
    rest: &'a [u8],
}

impl<'a> WireFields<'a> {
    pub(crate) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The number of bytes after the field that was read last.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    fn read(&mut self) -> Option<(u64, WireValue<'a>)> {
        let key = self.varint()?;
        let number = key >> 3;
        if number == 0 || key > u64::from(u32::MAX) {
            return None;
        }
        let content = match key & 7 {
            0 => WireValue::Varint(self.varint()?),
            1 => self.take(8).map(|_| WireValue::Fixed)?,
            2 => {
                let length = self.varint()?;
                WireValue::Bytes(self.take(length)?)
            }
            3 | 4 => WireValue::Group,
            5 => self.take(4).map(|_| WireValue::Fixed)?,
            _ => return None,
        };
        Some((number, content))
    }

    #[inline]
    fn take(&mut self, bytes: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(bytes).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    /// Nearly all varints are lengths and field numbers, of one byte or two: these are read here.
    #[inline]
    fn varint(&mut self) -> Option<u64> {
        match *self.rest {
            [byte @ ..0x80, ref rest @ ..] => {
                self.rest = rest;
                Some(u64::from(byte))
            }
            [low, high @ ..0x80, ref rest @ ..] => {
                self.rest = rest;
                Some(u64::from(low & 0x7f) | u64::from(high) << 7)
            }
            _ => prost::encoding::decode_varint(&mut self.rest).ok(),
        }
    }
}

impl<'a> Iterator for WireFields<'a> {
    type Item = Result<(u64, WireValue<'a>), Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field.ok_or(Malformed))
    }
}
