//! Boolean columns.

use veilpost_proto::masked::ValueRef;

use super::verdict::{Input, Verdict};

pub(super) fn convert(given: ValueRef<'_>) -> Verdict {
    match given {
        ValueRef::Boolean(boolean) => Verdict::Accept(Input::Made(boolean.to_string())),
        ValueRef::Text(text) => match parse(text) {
            Some(boolean) => Verdict::Accept(Input::Made(boolean.to_string())),
            None => Verdict::invalid("not a boolean"),
        },
        ValueRef::Number(_) | ValueRef::Json(_) => Verdict::invalid("a number where a boolean is needed"),
    }
}

/// Postgres's words for booleans: any unique prefix of them, in upper or lower case, with white space around.
/// <https://www.postgresql.org/docs/current/datatype-boolean.html>
fn parse(text: &str) -> Option<bool> {
    let word = text.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']).to_ascii_lowercase();
    let begins = |whole: &str, least: usize| word.len() >= least && whole.starts_with(&word);
    if begins("true", 1) || begins("yes", 1) || begins("on", 2) || begins("1", 1) {
        Some(true)
    } else if begins("false", 1) || begins("no", 1) || begins("off", 2) || begins("0", 1) {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_postgres_ones() {
        for word in ["t", "TRUE", " yes\n", "y", "on", "1", "tru"] {
            assert_eq!(parse(word), Some(true), "{word}");
        }
        for word in ["f", "False", "no", "n", "of", "off", "0"] {
            assert_eq!(parse(word), Some(false), "{word}");
        }
        for word in ["", "o", "truely", "2", "nope", "1.0"] {
            assert_eq!(parse(word), None, "{word}");
        }
    }

    #[test]
    fn numbers_are_no_booleans() {
        assert!(matches!(convert(ValueRef::Number("1")), Verdict::Reject(_)));
    }
}
