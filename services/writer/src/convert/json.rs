//! json and jsonb columns.

use serde::de::IgnoredAny;
use veilpost_proto::masked::ValueRef;
use veilpost_proto::v1::Reason;

use super::decimal::Decimal;
use super::number::{MOST_WHOLE_DIGITS, SURE_FRACTION_DIGITS};
use super::verdict::{Input, Verdict};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JsonType {
    /// Kept as text.
    Json,
    /// Strings and numbers are decoded, so they must be ones that Postgres can hold.
    Jsonb,
}

pub(super) fn convert(given: ValueRef<'_>, json_type: JsonType) -> Verdict {
    match given {
        ValueRef::Text(text) => match serde_json::to_string(text) {
            Ok(text) => Verdict::Accept(Input::Made(text)),
            Err(_) => Verdict::invalid("not JSON"),
        },
        ValueRef::Boolean(boolean) => Verdict::Accept(Input::Made(boolean.to_string())),
        ValueRef::Number(text) | ValueRef::Json(text) => judge(text, json_type),
    }
}

fn judge(text: &str, json_type: JsonType) -> Verdict {
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        return Verdict::invalid("not JSON");
    }
    match (scan(text), json_type) {
        (Finding::Nul, _) => Verdict::reject(Reason::NulInText, "U+0000 in text"),
        (Finding::TooLarge, JsonType::Jsonb) => Verdict::out_of_range("a number beyond numeric"),
        (Finding::Doubtful, JsonType::Jsonb) => Verdict::Unsure(Input::AsGiven),
        (Finding::TooLarge | Finding::Doubtful | Finding::Nothing, _) => Verdict::Accept(Input::AsGiven),
    }
}

/// What jsonb may refuse in a valid JSON text, from harmless to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Finding {
    Nothing,
    /// An escaped surrogate, whose other half may be missing, or a number with very many decimal places.
    Doubtful,
    /// A number that `numeric` does not hold.
    TooLarge,
    /// An escaped U+0000 in a string.
    Nul,
}

/// The worst finding in a valid JSON text.
fn scan(text: &str) -> Finding {
    strings_and_rest(text)
        .map(|(part, piece)| match part {
            JsonPart::InString => scan_string(piece),
            JsonPart::Outside => scan_rest(piece),
        })
        .max()
        .unwrap_or(Finding::Nothing)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JsonPart {
    InString,
    Outside,
}

/// The inner texts of the strings and the texts between them, in turn.
fn strings_and_rest(text: &str) -> impl Iterator<Item = (JsonPart, &str)> {
    let mut rest = Some(text);
    let mut part = JsonPart::InString;
    std::iter::from_fn(move || {
        part = if part == JsonPart::Outside { JsonPart::InString } else { JsonPart::Outside };
        let current = rest.take()?;
        let Some(end) = closing_quote(current, part) else { return Some((part, current)) };
        let (piece, tail) = current.split_at(end);
        rest = tail.strip_prefix('"');
        Some((part, piece))
    })
}

fn closing_quote(text: &str, part: JsonPart) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = part == JsonPart::InString && byte == b'\\' && !escaped;
        ends
    })
}

fn scan_string(string: &str) -> Finding {
    let mut worst = Finding::Nothing;
    let mut rest = string;
    while let Some((_, escape)) = rest.split_once('\\') {
        rest = escape.strip_prefix('\\').unwrap_or(escape);
        worst = worst.max(judge_escape(escape));
    }
    worst
}

/// Judges what follows a backslash.
fn judge_escape(escape: &str) -> Finding {
    let Some(digits) = escape.strip_prefix('u').and_then(|digits| digits.get(..4)) else {
        return Finding::Nothing;
    };
    match u16::from_str_radix(digits, 16) {
        Ok(0) => Finding::Nul,
        Ok(0xd800..=0xdfff) => Finding::Doubtful,
        _ => Finding::Nothing,
    }
}

fn scan_rest(rest: &str) -> Finding {
    rest.split(|sign: char| !(sign.is_ascii_digit() || matches!(sign, '+' | '-' | '.' | 'e' | 'E')))
        .filter_map(Decimal::parse)
        .map(|number| judge_number(&number))
        .max()
        .unwrap_or(Finding::Nothing)
}

fn judge_number(number: &Decimal) -> Finding {
    if number.whole_digits().is_some_and(|digits| digits > MOST_WHOLE_DIGITS) {
        Finding::TooLarge
    } else if number.lowest < -SURE_FRACTION_DIGITS {
        Finding::Doubtful
    } else {
        Finding::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reason(text: &str, json_type: JsonType) -> Option<Reason> {
        match convert(ValueRef::Json(text), json_type) {
            Verdict::Reject(refusal) => Some(refusal.reason),
            Verdict::Accept(_) | Verdict::Unsure(_) => None,
        }
    }

    #[test]
    fn escaped_nul_is_found_only_where_it_is_one() {
        assert_eq!(reason(r#"{"a":"\u0000"}"#, JsonType::Jsonb), Some(Reason::NulInText));
        assert_eq!(reason(r#"{"\u0000":1}"#, JsonType::Json), Some(Reason::NulInText));
        assert_eq!(reason(r#"{"a":"\\\u0000"}"#, JsonType::Jsonb), Some(Reason::NulInText));
        assert_eq!(reason(r#"{"a":"\\u0000"}"#, JsonType::Jsonb), None);
        assert_eq!(reason(r#"{"a":"\"","b":"\u00001"}"#, JsonType::Jsonb), Some(Reason::NulInText));
    }

    #[test]
    fn numbers_beyond_numeric_matter_only_to_jsonb() {
        assert_eq!(reason("[1e200000]", JsonType::Jsonb), Some(Reason::OutOfRange));
        assert_eq!(reason("[1e200000]", JsonType::Json), None);
        assert_eq!(reason(r#"["1e200000"]"#, JsonType::Jsonb), None);
    }

    #[test]
    fn what_is_no_json_is_invalid() {
        for text in ["{", "[1,]", "nul", "{\"a\":01}"] {
            assert_eq!(reason(text, JsonType::Json), Some(Reason::InvalidValue), "{text}");
        }
    }

    #[test]
    fn text_becomes_a_json_string() {
        assert_eq!(
            convert(ValueRef::Text("a\"b"), JsonType::Json),
            Verdict::Accept(Input::Made(r#""a\"b""#.into()))
        );
    }

    #[test]
    fn surrogates_are_left_to_postgres() {
        let text = r#"["\ud83d\ude00"]"#;
        assert_eq!(convert(ValueRef::Json(text), JsonType::Jsonb), Verdict::Unsure(Input::AsGiven));
    }

    proptest! {
        #[test]
        fn json_of_any_strings_is_accepted_unchanged(strings in proptest::collection::vec("[^\0]*", 0..5)) {
            let text = serde_json::to_string(&strings).unwrap();
            prop_assert_eq!(convert(ValueRef::Json(&text), JsonType::Jsonb), Verdict::Accept(Input::AsGiven));
        }

        #[test]
        fn a_nul_in_any_string_is_found(before in ".*", after in ".*") {
            let text = serde_json::to_string(&[format!("{before}\0{after}")]).unwrap();
            prop_assert_eq!(reason(&text, JsonType::Json), Some(Reason::NulInText));
        }
    }
}
