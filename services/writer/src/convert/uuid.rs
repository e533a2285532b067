//! UUID columns.

use veilpost_proto::masked::Given;

use super::{Input, Verdict};

pub(super) fn convert(given: Given<'_>) -> Verdict {
    match given {
        Given::Text(text) if is_usual(text) => Verdict::Accept(Input::AsGiven),
        Given::Text(_) => Verdict::Unsure(Input::AsGiven),
        Given::Number(_) | Given::Boolean(_) | Given::Json(_) => Verdict::invalid("not a UUID"),
    }
}

/// 8-4-4-4-12 hexadecimal digits, or 32 without hyphens.
fn is_usual(text: &str) -> bool {
    let bytes = text.as_bytes();
    let hyphen_at = |at: usize| [8, 13, 18, 23].contains(&at);
    match bytes.len() {
        32 => bytes.iter().all(u8::is_ascii_hexdigit),
        36 => bytes
            .iter()
            .enumerate()
            .all(|(at, byte)| if hyphen_at(at) { *byte == b'-' } else { byte.is_ascii_hexdigit() }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_forms_are_accepted_and_others_left_to_postgres() {
        for text in ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "A0EEBC999C0B4EF8BB6D6BB9BD380A11"] {
            assert!(matches!(convert(Given::Text(text)), Verdict::Accept(_)), "{text}");
        }
        for text in ["", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1g"] {
            assert!(matches!(convert(Given::Text(text)), Verdict::Unsure(_)), "{text}");
        }
    }
}
