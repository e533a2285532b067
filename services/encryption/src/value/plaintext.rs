//! What is encrypted: a byte for the value's type, the value, and padding.

use std::fmt;

/// The longest value, in bytes: 1 MiB.
pub const MAX_VALUE_LEN: usize = 1 << 20;

/// The largest multiple that [`Padding`] fills up to, in bytes.
pub const MAX_PADDING: usize = 4096;

/// Set in the first byte when padding follows the value.
const PADDED: u8 = 0x80;
/// The first byte of the padding; the others are zero (as in ISO/IEC 7816-4).
const PADDING_STARTS: u8 = 0x80;

/// A value in clear. NULL is not one: it stays NULL. `Debug` shows its kind only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Clear<'a> {
    Text(&'a str),
    /// A number as JSON writes it; its digits are kept.
    Number(&'a str),
    Boolean(bool),
    /// A JSON document. It is kept byte for byte and not checked.
    Json(&'a str),
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Text,
    Number,
    Boolean,
    Json,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Text, Self::Number, Self::Boolean, Self::Json];

    /// The byte that stands for it. Numbers are never reused.
    fn byte(self) -> u8 {
        match self {
            Self::Text => 1,
            Self::Number => 2,
            Self::Boolean => 3,
            Self::Json => 4,
        }
    }

    fn of_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.byte() == byte)
    }
}

impl<'a> Clear<'a> {
    pub fn kind(self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Number(_) => Kind::Number,
            Self::Boolean(_) => Kind::Boolean,
            Self::Json(_) => Kind::Json,
        }
    }

    /// The value as a text: a boolean is `true` or `false`.
    pub fn as_str(self) -> &'a str {
        match self {
            Self::Text(text) | Self::Number(text) | Self::Json(text) => text,
            Self::Boolean(true) => "true",
            Self::Boolean(false) => "false",
        }
    }

    fn of(kind: Kind, text: &'a str) -> Option<Self> {
        Some(match (kind, text) {
            (Kind::Text, _) => Self::Text(text),
            (Kind::Number, _) if is_number(text) => Self::Number(text),
            (Kind::Boolean, "true") => Self::Boolean(true),
            (Kind::Boolean, "false") => Self::Boolean(false),
            (Kind::Json, _) => Self::Json(text),
            (Kind::Number | Kind::Boolean, _) => return None,
        })
    }
}

impl fmt::Debug for Clear<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}(..)", self.kind())
    }
}

/// A value that was opened. `Debug` shows its kind only.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    kind: Kind,
    text: String,
}

impl Opened {
    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn as_clear(&self) -> Clear<'_> {
        // `read` has let nothing else through.
        Clear::of(self.kind, &self.text).unwrap_or(Clear::Text(&self.text))
    }

    /// The value as a text, as [`Clear::as_str`] says.
    pub fn into_text(self) -> String {
        self.text
    }

    /// Reads a plaintext that is authentic.
    pub(crate) fn read(mut plaintext: Vec<u8>) -> Result<Self, PlaintextError> {
        let first = plaintext.first().copied().ok_or(PlaintextError::Empty)?;
        if first & PADDED != 0 {
            let zeros = plaintext.iter().rev().take_while(|&&byte| byte == 0).count();
            plaintext.truncate(plaintext.len() - zeros);
            if plaintext.len() < 2 || plaintext.pop() != Some(PADDING_STARTS) {
                return Err(PlaintextError::Padding);
            }
        }
        let kind = Kind::of_byte(first & !PADDED).ok_or(PlaintextError::UnknownKind)?;
        plaintext.remove(0);
        let text = String::from_utf8(plaintext).map_err(|_| PlaintextError::NotOfItsKind)?;
        Clear::of(kind, &text).ok_or(PlaintextError::NotOfItsKind)?;
        Ok(Self { kind, text })
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Opened({:?}, ..)", self.kind)
    }
}

/// An authentic plaintext that this version does not understand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlaintextError {
    Empty,
    UnknownKind,
    Padding,
    NotOfItsKind,
}

/// How lengths are hidden: plaintexts are filled up to a multiple of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Padding(usize);

/// The multiple is larger than [`MAX_PADDING`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("padding fills up to a multiple of at most 4096 bytes")]
pub struct PaddingTooLarge;

impl Padding {
    /// No padding: the length of a value is the length of its text, less a constant.
    pub const NONE: Self = Self(0);

    /// Fills the value, with its type byte and at least one byte of padding, up to a multiple of this many
    /// bytes. 0 means no padding.
    ///
    /// # Errors
    ///
    /// If `bytes` is larger than [`MAX_PADDING`].
    pub fn to_multiple_of(bytes: usize) -> Result<Self, PaddingTooLarge> {
        (bytes <= MAX_PADDING).then_some(Self(bytes)).ok_or(PaddingTooLarge)
    }
}

/// The length of the plaintext of a value, in bytes.
pub(crate) fn encoded_len(value: &str, padding: Padding) -> usize {
    let bare = value.len() + 1;
    if padding == Padding::NONE { bare } else { (bare + 1).next_multiple_of(padding.0) }
}

/// Appends the plaintext of a value.
pub(crate) fn push(out: &mut Vec<u8>, value: Clear<'_>, padding: Padding) {
    let (kind, text) = (value.kind().byte(), value.as_str());
    let end = out.len() + encoded_len(text, padding);
    if padding == Padding::NONE {
        out.push(kind);
        out.extend_from_slice(text.as_bytes());
    } else {
        out.push(kind | PADDED);
        out.extend_from_slice(text.as_bytes());
        out.push(PADDING_STARTS);
        out.resize(end, 0);
    }
}

/// Whether a text is a number as JSON writes it (RFC 8259, section 6).
pub(crate) fn is_number(text: &str) -> bool {
    fn after_digits(text: &str) -> Option<&str> {
        let rest = text.trim_start_matches(|digit: char| digit.is_ascii_digit());
        (rest.len() < text.len()).then_some(rest)
    }
    fn after_integer(text: &str) -> Option<&str> {
        let text = text.strip_prefix('-').unwrap_or(text);
        text.strip_prefix('0').or_else(|| after_digits(text))
    }
    fn after_fraction(text: &str) -> Option<&str> {
        text.strip_prefix('.').map_or(Some(text), after_digits)
    }
    fn after_exponent(text: &str) -> Option<&str> {
        let Some(text) = text.strip_prefix(['e', 'E']) else { return Some(text) };
        after_digits(text.strip_prefix(['+', '-']).unwrap_or(text))
    }
    after_integer(text).and_then(after_fraction).and_then(after_exponent) == Some("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plaintext(value: Clear<'_>, pad: usize) -> Vec<u8> {
        let mut out = Vec::new();
        push(&mut out, value, Padding::to_multiple_of(pad).unwrap());
        out
    }

    #[test]
    fn the_type_comes_first_and_padding_last() {
        assert_eq!(plaintext(Clear::Text("ab"), 0), b"\x01ab");
        assert_eq!(plaintext(Clear::Text("ab"), 8), b"\x81ab\x80\0\0\0\0");
        assert_eq!(plaintext(Clear::Text("abcdef"), 8), b"\x81abcdef\x80");
        assert_eq!(plaintext(Clear::Text("abcdefg"), 8).len(), 16);
        assert_eq!(plaintext(Clear::Number("1.50"), 1), b"\x821.50\x80");
        assert_eq!(plaintext(Clear::Boolean(true), 0), b"\x03true");
        assert_eq!(plaintext(Clear::Json("{}"), 0), b"\x04{}");
    }

    #[test]
    fn every_value_is_read_as_it_was_with_every_padding() {
        let values = ["", "a", "\0", "\u{80}", "a\u{80}\0\0", "\0\0\0\0", "é", &"x".repeat(40)];
        for text in values {
            for pad in [0, 1, 2, 3, 16, 32, 4096] {
                for value in
                    [Clear::Text(text), Clear::Json(text), Clear::Boolean(false), Clear::Number("-0.5e+10")]
                {
                    let plaintext = plaintext(value, pad);
                    assert_eq!(plaintext.len(), encoded_len(value.as_str(), Padding(pad)));
                    assert!(pad == 0 || plaintext.len().is_multiple_of(pad));
                    let read = Opened::read(plaintext).unwrap();
                    assert!(read.as_clear() == value, "{text:?} {pad}");
                }
            }
        }
    }

    #[test]
    fn what_was_not_written_here_is_refused() {
        let refused = [
            (b"".as_slice(), PlaintextError::Empty),
            (b"\0", PlaintextError::UnknownKind),
            (b"\x05a", PlaintextError::UnknownKind),
            (b"\x85a\x80", PlaintextError::UnknownKind),
            (b"\x81", PlaintextError::Padding),
            (b"\x80", PlaintextError::Padding),
            (b"\x81a", PlaintextError::Padding),
            (b"\x81a\0\0", PlaintextError::Padding),
            (b"\x81\0\0\0", PlaintextError::Padding),
            (b"\x01\xff", PlaintextError::NotOfItsKind),
            (b"\x03yes", PlaintextError::NotOfItsKind),
            (b"\x0201", PlaintextError::NotOfItsKind),
        ];
        for (plaintext, error) in refused {
            assert_eq!(Opened::read(plaintext.to_vec()).unwrap_err(), error, "{plaintext:?}");
        }
    }

    #[test]
    fn numbers_are_those_of_json() {
        for number in ["0", "-0", "10", "1.50", "1e9", "1E-9", "0.0e+0", "123456789012345678901234567890"] {
            assert!(is_number(number), "{number}");
        }
        for other in
            ["", "-", "01", "+1", ".5", "1.", "1e", "1e+", "0x1", "1 ", " 1", "NaN", "٣", "1,5", "--1"]
        {
            assert!(!is_number(other), "{other}");
        }
    }

    #[test]
    fn debug_shows_no_value() {
        assert_eq!(format!("{:?}", Clear::Text("secret")), "Text(..)");
        assert_eq!(format!("{:?}", Opened::read(b"\x01secret".to_vec()).unwrap()), "Opened(Text, ..)");
    }

    #[test]
    fn padding_is_bounded() {
        assert!(Padding::to_multiple_of(MAX_PADDING).is_ok());
        assert_eq!(Padding::to_multiple_of(MAX_PADDING + 1), Err(PaddingTooLarge));
        assert_eq!(Padding::to_multiple_of(0), Ok(Padding::NONE));
    }
}
