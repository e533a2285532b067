//! Decimal numbers of any size, read from text.

use veilpost_runtime::numbers::to_i64;

/// `significant` × 10^`lowest`, without leading or trailing zeros in `significant`; zero has none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    pub(super) negative: bool,
    pub(super) significant: String,
    pub(super) lowest: i64,
}

/// Larger exponents are cut to this: no column holds such a number.
const ENDLESS: i64 = 1 << 40;

impl Decimal {
    /// Reads `[+-]digits[.digits][e[+-]digits]`; None for any other shape.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = strip_sign(text);
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (rest, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, is_digits(fraction).then_some(fraction)?),
            None => (mantissa, ""),
        };
        is_digits(whole).then(|| Self::from_parts(negative, whole, fraction, exponent))
    }

    fn from_parts(negative: bool, whole: &str, fraction: &str, exponent: i64) -> Self {
        let digits = format!("{whole}{fraction}");
        let leading = digits.trim_start_matches('0');
        let significant = leading.trim_end_matches('0').to_owned();
        let lowest = exponent - length(fraction) + (length(leading) - length(&significant));
        let lowest = if significant.is_empty() { 0 } else { lowest };
        Self { negative, significant, lowest }
    }

    pub(super) fn is_integral(&self) -> bool {
        self.lowest >= 0
    }

    /// How many digits stand before the decimal point; not positive for numbers below one. None for zero.
    pub(super) fn whole_digits(&self) -> Option<i64> {
        (!self.significant.is_empty()).then(|| length(&self.significant) + self.lowest)
    }

    /// The integer, if it is one and fits.
    pub(super) fn to_i64(&self) -> Option<i64> {
        if self.significant.is_empty() {
            return Some(0);
        }
        let magnitude: i128 = self.significant.parse().ok()?;
        let scale = 10i128.checked_pow(u32::try_from(self.lowest).ok()?)?;
        let magnitude = magnitude.checked_mul(scale)?;
        i64::try_from(if self.negative { -magnitude } else { magnitude }).ok()
    }
}

fn strip_sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn parse_exponent(text: &str) -> Option<i64> {
    let (negative, digits) = strip_sign(text);
    if !is_digits(digits) {
        return None;
    }
    let size = digits.parse().unwrap_or(ENDLESS).min(ENDLESS);
    Some(if negative { -size } else { size })
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn length(text: &str) -> i64 {
    to_i64(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_of_the_same_number_are_equal() {
        let expected = Decimal::parse("2300").unwrap();
        for text in ["2300.0", "2.3e3", "23E+2", "0.23e4", "00002300", "+2300.00"] {
            assert_eq!(Decimal::parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn other_shapes_are_no_decimals() {
        for text in
            ["", "-", ".5", "5.", "1e", "1e+", "0x10", "1 ", " 1", "1_000", "NaN", "1.2.3", "--1", "１"]
        {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn enormous_exponents_cost_nothing() {
        let huge = Decimal::parse("1e99999999999999999999").unwrap();
        assert!(huge.is_integral());
        assert_eq!(huge.to_i64(), None);
        assert_eq!(Decimal::parse("0e99999999999999999999").unwrap().to_i64(), Some(0));
    }

    proptest! {
        #[test]
        fn integers_survive(value: i64, zeros in 0usize..5) {
            let text = format!("{value}.{}", "0".repeat(zeros + 1));
            prop_assert_eq!(Decimal::parse(&text).unwrap().to_i64(), Some(value));
        }

        #[test]
        fn whole_digits_agree_with_the_value(value in 1u64.., shift in 0u32..10) {
            let digits = i64::try_from(value.to_string().len()).unwrap();
            let decimal = Decimal::parse(&format!("{value}e-{shift}")).unwrap();
            prop_assert_eq!(decimal.whole_digits(), Some(digits - i64::from(shift)));
        }
    }
}
