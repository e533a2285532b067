//! The length of bit strings. An explicit cast to `bit(n)` or `bit varying(n)` cuts, as with text, so that
//! Postgres's validation does not find a wrong length; the statement would.

use veilpost_proto::v1::Reason;

use crate::catalogue::TableColumn;

/// The object ids of `bit` and `bit varying`.
const BIT: u32 = 1560;
const BIT_VARYING: u32 = 1562;

/// Why a text has a length that its column does not take; None for columns of other types.
pub(super) fn wrong_length(text: &str, column: &TableColumn) -> Option<(Reason, String)> {
    let wanted = usize::try_from(column.typmod).ok()?;
    let bits = length(text);
    match column.type_oid {
        BIT if bits != wanted => Some((Reason::InvalidValue, format!("not {wanted} bits"))),
        BIT_VARYING if bits > wanted => Some((Reason::TextTooLong, format!("longer than {wanted} bits"))),
        _ => None,
    }
}

/// The number of bits if the text is a bit string: digits of 0 and 1, perhaps after a `b`, or hexadecimal
/// ones after an `x`. Postgres judges whether it is one.
fn length(text: &str) -> usize {
    match text.as_bytes() {
        [b'x' | b'X', digits @ ..] => 4 * digits.len(),
        [b'b' | b'B', digits @ ..] | digits => digits.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::fixtures::column;

    #[test]
    fn a_bit_string_fits_its_length_or_is_rejected() {
        let of = |type_oid, typmod| TableColumn { type_oid, typmod, ..column("flags") };
        let reason = |text, column: &TableColumn| wrong_length(text, column).map(|(reason, _)| reason);
        for (text, fixed, varying) in [
            ("101", None, None),
            ("b101", None, None),
            ("x5", Some(Reason::InvalidValue), Some(Reason::TextTooLong)),
            ("1011", Some(Reason::InvalidValue), Some(Reason::TextTooLong)),
            ("10", Some(Reason::InvalidValue), None),
            ("", Some(Reason::InvalidValue), None),
        ] {
            assert_eq!(reason(text, &of(BIT, 3)), fixed, "{text}");
            assert_eq!(reason(text, &of(BIT_VARYING, 3)), varying, "{text}");
        }
        assert_eq!(reason("1011", &of(BIT_VARYING, -1)), None, "without a length");
        assert_eq!(reason("1011", &of(25, 3)), None, "another type");
    }
}
