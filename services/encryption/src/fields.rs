//! Several byte strings as one, so that no two lists of them give the same bytes.

/// Appends the length of `field` as four bytes, big-endian, and then `field`. Callers bound the length.
pub(crate) fn push(out: &mut Vec<u8>, field: &[u8]) {
    let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(field);
}

/// Appends a 0 for a field that is absent, or a 1 and the field: absent and empty differ.
pub(crate) fn push_optional(out: &mut Vec<u8>, field: Option<&[u8]>) {
    out.push(u8::from(field.is_some()));
    if let Some(field) = field {
        push(out, field);
    }
}

pub(crate) fn of(fields: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(fields.iter().map(|field| field.len() + 4).sum());
    for field in fields {
        push(&mut out, field);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_stands_before_each_field() {
        assert_eq!(of(&[b"ab", b""]), b"\0\0\0\x02ab\0\0\0\0");
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
        assert_ne!(of(&[b"ab"]), of(&[b"ab", b""]));
    }

    #[test]
    fn an_absent_field_differs_from_an_empty_one() {
        let encoded = |field| {
            let mut out = Vec::new();
            push_optional(&mut out, field);
            out
        };
        assert_eq!(encoded(None), b"\0");
        assert_eq!(encoded(Some(b"".as_slice())), b"\x01\0\0\0\0");
    }
}
