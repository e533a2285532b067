//! UUID columns.

use uuid::Uuid;
use veilpost_proto::masked::ValueRef;

use super::verdict::{Input, Verdict};

pub(super) fn convert(given: ValueRef<'_>) -> Verdict {
    match given {
        ValueRef::Text(text) if is_usual(text) => Verdict::Accept(Input::AsGiven),
        ValueRef::Text(_) => Verdict::Unsure(Input::AsGiven),
        ValueRef::Number(_) | ValueRef::Boolean(_) | ValueRef::Json(_) => Verdict::invalid("not a UUID"),
    }
}

/// Whether this is 8-4-4-4-12 hexadecimal digits, or 32 of them.
///
/// Postgres also takes braces and a hyphen after any four digits, and judges those forms itself. The crate
/// takes a form that Postgres refuses, `urn:uuid:…`; it is longer.
fn is_usual(text: &str) -> bool {
    [32, 36].contains(&text.len()) && Uuid::try_parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_usual_forms_are_accepted_and_others_left_to_postgres() {
        for text in ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "A0EEBC999C0B4EF8BB6D6BB9BD380A11"] {
            assert!(matches!(convert(ValueRef::Text(text)), Verdict::Accept(_)), "{text}");
        }
        for text in ["", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1g"] {
            assert!(matches!(convert(ValueRef::Text(text)), Verdict::Unsure(_)), "{text}");
        }
    }
    proptest! {
        #[test]
        fn every_uuid_is_accepted_in_both_usual_forms(bytes: [u8; 16], uppercase: bool) {
            let uuid = Uuid::from_bytes(bytes);
            for form in [uuid.hyphenated().to_string(), uuid.simple().to_string()] {
                let form = if uppercase { form.to_uppercase() } else { form };
                prop_assert!(is_usual(&form), "{form}");
            }
        }

        /// The same rule, written out: other characters, or hyphens elsewhere, are left to Postgres.
        #[test]
        fn nothing_but_the_usual_forms_is_accepted(text in "[0-9a-fA-Fg{}é-]{32}|[0-9a-f-]{36}|[0-9a-f]{8}(-[0-9a-fg]{4}){3}-[0-9a-f]{12}") {
            let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
            let parts: Vec<&str> = text.split('-').collect();
            let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
            let usual = matches!(lengths[..], [32] | [8, 4, 4, 4, 12]) && parts.iter().all(|part| digits(part));
            prop_assert_eq!(is_usual(&text), usual, "{}", text);
        }
    }
}
