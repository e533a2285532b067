//! Integer columns. Nothing is ever rounded.

use veilpost_proto::masked::ValueRef;

use super::decimal::Decimal;
use super::verdict::{Input, Verdict};

pub(super) fn convert(given: ValueRef<'_>, least: i64, greatest: i64) -> Verdict {
    match given {
        ValueRef::Number(text) => judge(text, least, greatest),
        ValueRef::Text(text) if is_plain(text) => judge(text, least, greatest),
        ValueRef::Text(_) => Verdict::Unsure(Input::AsGiven),
        ValueRef::Boolean(_) | ValueRef::Json(_) => Verdict::invalid("a boolean where an integer is needed"),
    }
}

fn judge(text: &str, least: i64, greatest: i64) -> Verdict {
    // Most integers are plain digits; only the others are read as decimals.
    if let Ok(value) = text.parse::<i64>()
        && (least..=greatest).contains(&value)
    {
        return accepted(text, value);
    }
    let Some(decimal) = Decimal::parse(text) else { return Verdict::Unsure(Input::AsGiven) };
    if !decimal.is_integral() {
        return Verdict::invalid("not an integer");
    }
    match decimal.to_i64() {
        Some(value) if (least..=greatest).contains(&value) => accepted(text, value),
        _ => Verdict::out_of_range(format!("not between {least} and {greatest}")),
    }
}

/// Accepts an integer in its usual spelling, which most texts have already.
fn accepted(text: &str, value: i64) -> Verdict {
    let is_usual = text == "0" || text.starts_with(|first: char| matches!(first, '1'..='9'));
    if is_usual && is_plain(text) {
        return Verdict::Accept(Input::AsGiven);
    }
    Verdict::Accept(Input::Made(value.to_string()))
}

fn is_plain(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use veilpost_proto::v1::Reason;

    fn int4(given: ValueRef<'_>) -> Result<String, Option<Reason>> {
        match convert(given, i32::MIN.into(), i32::MAX.into()) {
            Verdict::Accept(Input::AsGiven) => Ok(given.text().unwrap().to_owned()),
            Verdict::Accept(Input::Made(text)) => Ok(text),
            Verdict::Unsure(_) => Err(None),
            Verdict::Reject(refusal) => Err(Some(refusal.reason)),
        }
    }

    #[test]
    fn numbers_are_integers_only_when_integral() {
        for (text, expected) in [
            ("23", Ok("23")),
            ("23.0", Ok("23")),
            ("1e3", Ok("1000")),
            ("-0", Ok("0")),
            ("-7", Ok("-7")),
            ("2147483647", Ok("2147483647")),
            ("2147483648", Err(Some(Reason::OutOfRange))),
            ("1e400", Err(Some(Reason::OutOfRange))),
            ("23.7", Err(Some(Reason::InvalidValue))),
            ("1e-3", Err(Some(Reason::InvalidValue))),
        ] {
            assert_eq!(int4(ValueRef::Number(text)), expected.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn text_is_judged_when_plain_and_left_to_postgres_otherwise() {
        assert_eq!(int4(ValueRef::Text("+007")), Ok("7".into()));
        assert_eq!(int4(ValueRef::Text("99999999999999999999")), Err(Some(Reason::OutOfRange)));
        assert_eq!(int4(ValueRef::Text(" 7")), Err(None));
        assert_eq!(int4(ValueRef::Text("23.0")), Err(None));
    }

    #[test]
    fn booleans_are_no_integers() {
        assert_eq!(int4(ValueRef::Boolean(true)), Err(Some(Reason::InvalidValue)));
    }

    proptest! {
        #[test]
        fn every_integer_is_accepted_exactly_within_its_range(value: i64) {
            let expected = i32::try_from(value).map(|value| value.to_string()).map_err(|_| Some(Reason::OutOfRange));
            prop_assert_eq!(int4(ValueRef::Number(&value.to_string())), expected);
        }
    }
}
