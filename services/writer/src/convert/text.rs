//! Text columns: lengths as Postgres counts them.

use veilpost_proto::masked::ValueRef;
use veilpost_proto::v1::Reason;

use super::verdict::{Input, Verdict};
use crate::catalogue::TextLimit;

pub(super) fn convert(given: ValueRef<'_>, limit: TextLimit) -> Verdict {
    let input = Input::spelled(given);
    let text = match &input {
        Input::AsGiven => given.text().unwrap_or_default(),
        Input::Made(text) => text,
    };
    match limit {
        TextLimit::Characters(most) if text.len() > most && text.chars().count() > most => {
            too_long(most, "characters")
        }
        TextLimit::Bytes(most) if text.len() > most => too_long(most, "bytes"),
        TextLimit::None | TextLimit::Characters(_) | TextLimit::Bytes(_) => Verdict::Accept(input),
    }
}

fn too_long(most: usize, unit: &str) -> Verdict {
    Verdict::reject(Reason::TextTooLong, format!("longer than {most} {unit}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_and_booleans_keep_their_spelling() {
        assert_eq!(convert(ValueRef::Number("1.50e2"), TextLimit::None), Verdict::Accept(Input::AsGiven));
        assert_eq!(
            convert(ValueRef::Boolean(true), TextLimit::None),
            Verdict::Accept(Input::Made("true".into()))
        );
    }

    #[test]
    fn trailing_spaces_count() {
        assert!(matches!(convert(ValueRef::Text("ab "), TextLimit::Characters(2)), Verdict::Reject(_)));
    }

    proptest! {
        #[test]
        fn text_is_too_long_exactly_when_it_has_more_characters(value in "\\PC{0,20}", most in 0usize..20) {
            let refused = matches!(
                convert(ValueRef::Text(&value), TextLimit::Characters(most)),
                Verdict::Reject(refusal) if refusal.reason == Reason::TextTooLong
            );
            prop_assert_eq!(refused, value.chars().count() > most);
        }

        #[test]
        fn what_is_accepted_is_unchanged(value in "\\PC{0,20}") {
            prop_assert_eq!(convert(ValueRef::Text(&value), TextLimit::Bytes(200)), Verdict::Accept(Input::AsGiven));
        }
    }
}
