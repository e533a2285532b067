//! Digits: a number as people write it, such as a phone number, without what separates its digits.

use crate::fault::Fault;

/// The ASCII digits of `text`. Punctuation and spaces are removed. A letter or a digit of another script is
/// not, because a text without it would be another number.
pub(super) fn normalized(text: &str) -> Result<String, Fault> {
    let mut digits = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '0'..='9' => digits.push(character),
            _ if character.is_alphanumeric() => {
                return Err(Fault::invalid("a letter, or a digit other than 0 to 9"));
            }
            _ => {}
        }
    }
    if digits.is_empty() { Err(Fault::invalid("no digit")) } else { Ok(digits) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::normalized;

    #[test]
    fn the_ways_to_write_one_phone_number_are_one() {
        for text in
            ["491701234567", "+49 170 1234567", "+49-(170)/123.45.67", "\u{a0}49\u{2011}170\u{2009}1234567\n"]
        {
            assert_eq!(normalized(text).as_deref(), Ok("491701234567"), "{text:?}");
        }
    }

    #[test]
    fn what_would_become_another_number_is_refused() {
        for text in ["0170 ext. 5", "1-800-FLOWERS", "１23", "٣", "½", "²", "5①", "x"] {
            assert_eq!(
                normalized(text).unwrap_err().rule,
                "a letter, or a digit other than 0 to 9",
                "{text}"
            );
        }
        for text in ["", "+", " - ", "()"] {
            assert_eq!(normalized(text).unwrap_err().rule, "no digit", "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn exactly_the_digits_are_left_in_their_order(parts in prop::collection::vec(("[0-9]{1,4}", "[-+ ()./_\u{2013}]{0,3}"), 1..6)) {
            let (digits, texts): (Vec<_>, Vec<_>) =
                parts.into_iter().map(|(digits, others)| (digits.clone(), others + &digits)).unzip();
            prop_assert_eq!(normalized(&texts.concat()), Ok(digits.concat()));
        }
    }
}
