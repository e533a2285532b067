//! Numeric and floating-point columns.

use veilpost_proto::masked::ValueRef;

use super::decimal::Decimal;
use super::verdict::{Input, Verdict};
use crate::catalogue::NumericShape;

/// Postgres's numeric holds at most this many digits before the decimal point.
/// <https://www.postgresql.org/docs/current/datatype-numeric.html>
pub(super) const MOST_WHOLE_DIGITS: i64 = 131_072;

/// Beyond this many digits after the decimal point Postgres is asked.
pub(super) const SURE_FRACTION_DIGITS: i64 = 1000;

pub(super) fn numeric(given: ValueRef<'_>, shape: Option<NumericShape>) -> Verdict {
    let text = match given {
        ValueRef::Number(text) | ValueRef::Text(text) => text,
        ValueRef::Boolean(_) | ValueRef::Json(_) => {
            return Verdict::invalid("a boolean where a number is needed");
        }
    };
    let Some(decimal) = Decimal::parse(text) else { return Verdict::Unsure(Input::AsGiven) };
    let most = shape.map_or(MOST_WHOLE_DIGITS, NumericShape::whole_digits);
    let may_round_up = shape.is_some_and(|shape| decimal.lowest < -shape.scale);
    match decimal.whole_digits() {
        Some(digits) if digits > most => {
            Verdict::out_of_range(format!("more than {most} digits before the point"))
        }
        Some(digits) if digits == most && may_round_up => Verdict::Unsure(Input::AsGiven),
        _ if decimal.lowest < -SURE_FRACTION_DIGITS => Verdict::Unsure(Input::AsGiven),
        _ => Verdict::Accept(Input::AsGiven),
    }
}

/// Postgres gets a number, never a text whose commas and points it would read by the database's locale.
pub(super) fn money(given: ValueRef<'_>) -> Verdict {
    /// 64 bits hold 17 digits before the point.
    const SHAPE: NumericShape = NumericShape { precision: 19, scale: 2 };
    match given {
        ValueRef::Number(text) | ValueRef::Text(text) if Decimal::parse(text).is_none() => {
            Verdict::invalid("not a number")
        }
        _ => match numeric(given, Some(SHAPE)) {
            Verdict::Unsure(input) => Verdict::Accept(input),
            verdict => verdict,
        },
    }
}

pub(super) fn float(given: ValueRef<'_>, fits: fn(&str) -> bool) -> Verdict {
    let text = match given {
        ValueRef::Number(text) | ValueRef::Text(text) => text,
        ValueRef::Boolean(_) | ValueRef::Json(_) => {
            return Verdict::invalid("a boolean where a number is needed");
        }
    };
    match Decimal::parse(text) {
        None => Verdict::Unsure(Input::AsGiven),
        Some(decimal) if decimal.significant.is_empty() || fits(text) => Verdict::Accept(Input::AsGiven),
        Some(_) => Verdict::out_of_range("beyond what a floating-point number holds"),
    }
}

/// Whether a number that is not zero is neither infinite nor zero as a `real`.
pub(super) fn fits_float4(text: &str) -> bool {
    text.parse().is_ok_and(|value: f32| value.is_finite() && value != 0.0)
}

/// Whether a number that is not zero is neither infinite nor zero as a `double precision`.
pub(super) fn fits_float8(text: &str) -> bool {
    text.parse().is_ok_and(|value: f64| value.is_finite() && value != 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use veilpost_proto::v1::Reason;

    fn outcome(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Accept(_) => "accept",
            Verdict::Unsure(_) => "unsure",
            Verdict::Reject(refusal) if refusal.reason == Reason::OutOfRange => "range",
            Verdict::Reject(_) => "invalid",
        }
    }

    #[test]
    fn numeric_follows_precision_and_scale() {
        let shape = Some(NumericShape { precision: 5, scale: 2 });
        for (text, expected) in [
            ("999.99", "accept"),
            ("-999.99", "accept"),
            ("99.999", "accept"),
            ("999.994", "unsure"),
            ("1000", "range"),
            ("1e3", "range"),
            ("0e9", "accept"),
            ("NaN", "unsure"),
        ] {
            assert_eq!(outcome(&numeric(ValueRef::Number(text), shape)), expected, "{text}");
        }
    }

    #[test]
    fn scales_beyond_the_precision_leave_no_room_for_whole_digits() {
        let shape = Some(NumericShape { precision: 3, scale: 5 });
        assert_eq!(outcome(&numeric(ValueRef::Number("0.00999"), shape)), "accept");
        assert_eq!(outcome(&numeric(ValueRef::Number("0.01"), shape)), "range");
    }

    #[test]
    fn money_is_a_plain_number() {
        for (text, expected) in [
            ("12.5", "accept"),
            ("-0.005", "accept"),
            ("12,50", "invalid"),
            ("1,234.50", "invalid"),
            ("$12.50", "invalid"),
            ("NaN", "invalid"),
            ("1e17", "range"),
        ] {
            assert_eq!(outcome(&money(ValueRef::Text(text))), expected, "{text}");
        }
    }

    #[test]
    fn unbounded_numeric_has_a_bound_too() {
        assert_eq!(outcome(&numeric(ValueRef::Number("1e131071"), None)), "accept");
        assert_eq!(outcome(&numeric(ValueRef::Number("1e131072"), None)), "range");
        assert_eq!(outcome(&numeric(ValueRef::Number("1e-20000"), None)), "unsure");
    }

    #[test]
    fn floats_overflow_and_underflow() {
        for (text, four, eight) in [
            ("1.5", "accept", "accept"),
            ("0.0", "accept", "accept"),
            ("1e39", "range", "accept"),
            ("1e309", "range", "range"),
            ("1e-50", "range", "accept"),
            ("1e-400", "range", "range"),
            ("Infinity", "unsure", "unsure"),
        ] {
            assert_eq!(outcome(&float(ValueRef::Number(text), fits_float4)), four, "{text}");
            assert_eq!(outcome(&float(ValueRef::Number(text), fits_float8)), eight, "{text}");
        }
    }

    #[test]
    fn booleans_are_no_numbers() {
        assert_eq!(outcome(&numeric(ValueRef::Boolean(true), None)), "invalid");
        assert_eq!(outcome(&float(ValueRef::Boolean(true), fits_float8)), "invalid");
    }
}
