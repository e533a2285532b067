//! `epoch-s` and `epoch-ms`: a number of seconds or milliseconds since 1970 as a time in ISO 8601.

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime};

use super::calendar::utc_text;
use crate::fault::Fault;

const NOT_A_NUMBER: Fault = Fault::invalid("not a number");
const TOO_FINE: Fault = Fault::invalid("finer than a nanosecond");
const NO_SUCH_TIME: Fault = Fault::out_of_range("not a time of the years 1 to 9999");

/// More digits of nanoseconds than any time of the calendar has.
const MAX_DIGITS: i64 = 24;

/// What the number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EpochUnit {
    Seconds,
    Milliseconds,
}

impl EpochUnit {
    /// The time in UTC. The number is read as a decimal, with all its digits; leap seconds are not counted
    /// (POSIX).
    pub(super) fn of(self, text: &str) -> Result<String, Fault> {
        let nanoseconds = Decimal::parse(text)?.shifted(match self {
            Self::Seconds => 9,
            Self::Milliseconds => 6,
        })?;
        at(nanoseconds).and_then(utc_text).ok_or(NO_SUCH_TIME)
    }
}

fn at(nanoseconds: i128) -> Option<DateTime> {
    let seconds = i64::try_from(nanoseconds.div_euclid(1_000_000_000)).ok()?;
    let rest = i32::try_from(nanoseconds.rem_euclid(1_000_000_000)).ok()?;
    let epoch = Date::new(1970, 1, 1).ok()?.at(0, 0, 0, 0);
    epoch.checked_add(SignedDuration::from_secs(seconds)).ok()?.checked_add(SignedDuration::new(0, rest)).ok()
}

/// A number in JSON's grammar: 0.DIGITS times ten to the power of `point`, with no zero at either end.
struct Decimal {
    negative: bool,
    digits: String,
    point: i64,
}

impl Decimal {
    fn parse(text: &str) -> Result<Self, Fault> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = rest
            .split_once(['e', 'E'])
            .map_or((rest, 0), |(mantissa, power)| (mantissa, exponent(power).unwrap_or(i64::MAX)));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        if !is_digits(whole) || !is_digits(fraction) || leading_zero || exponent == i64::MAX {
            return Err(NOT_A_NUMBER);
        }
        let all = format!("{whole}{fraction}");
        let significant = all.trim_start_matches('0');
        let zeros = i64::try_from(all.len() - significant.len()).unwrap_or(i64::MAX);
        let before_point = i64::try_from(whole.len()).unwrap_or(i64::MAX);
        let point = before_point.saturating_sub(zeros).saturating_add(exponent);
        Ok(Self { negative, digits: significant.trim_end_matches('0').to_owned(), point })
    }

    /// The number times ten to the power of `places`, which must be an integer.
    fn shifted(&self, places: i64) -> Result<i128, Fault> {
        let length = self.point.saturating_add(places);
        if self.digits.is_empty() {
            return Ok(0);
        }
        if length > MAX_DIGITS {
            return Err(NO_SUCH_TIME);
        }
        let zeros =
            i64::try_from(self.digits.len()).ok().and_then(|digits| usize::try_from(length - digits).ok());
        let digits = format!("{}{}", self.digits, "0".repeat(zeros.ok_or(TOO_FINE)?));
        let number: i128 = digits.parse().map_err(|_| NO_SUCH_TIME)?;
        Ok(if self.negative { -number } else { number })
    }
}

/// The exponent, cut to a billion on both sides: nothing that large is a time. `None` when it is no integer.
fn exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !is_digits(digits) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    let size = if digits.len() > 9 { 1_000_000_000 } else { digits.parse().unwrap_or(0) };
    Some(if negative { -size } else { size })
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_number_is_read_exactly() {
        for (unit, number, time) in [
            (EpochUnit::Seconds, "0", "1970-01-01T00:00:00Z"),
            (EpochUnit::Seconds, "-0.0", "1970-01-01T00:00:00Z"),
            (EpochUnit::Seconds, "0e999999999999", "1970-01-01T00:00:00Z"),
            (EpochUnit::Seconds, "1700000000", "2023-11-14T22:13:20Z"),
            (EpochUnit::Seconds, "1700000000.123456789", "2023-11-14T22:13:20.123456789Z"),
            (EpochUnit::Seconds, "1.7E+9", "2023-11-14T22:13:20Z"),
            (EpochUnit::Seconds, "17000000001e-1", "2023-11-14T22:13:20.1Z"),
            (EpochUnit::Seconds, "-0.5", "1969-12-31T23:59:59.5Z"),
            (EpochUnit::Seconds, "253402300799.999999999", "9999-12-31T23:59:59.999999999Z"),
            (EpochUnit::Seconds, "-62135596800", "0001-01-01T00:00:00Z"),
            (EpochUnit::Milliseconds, "1700000000123", "2023-11-14T22:13:20.123Z"),
            (EpochUnit::Milliseconds, "1700000000123.000001", "2023-11-14T22:13:20.123000001Z"),
            (EpochUnit::Milliseconds, "1e-6", "1970-01-01T00:00:00.000000001Z"),
        ] {
            assert_eq!(unit.of(number).as_deref(), Ok(time), "{number}");
        }
    }

    #[test]
    fn what_is_no_number_no_time_or_too_fine_is_refused() {
        for text in [
            "", "-", "+1", "01", ".5", "5.", "1e", "e1", "1e+", "1.5.5", "0x10", "NaN", "Infinity", "true",
            " 1", "1_0", "１",
        ] {
            assert_eq!(EpochUnit::Seconds.of(text), Err(NOT_A_NUMBER), "{text:?}");
        }
        for text in ["253402300800", "-62135596801", "1e12", "1e400", "1e99999999999999999999", "-9e99"] {
            assert_eq!(EpochUnit::Seconds.of(text), Err(NO_SUCH_TIME), "{text}");
        }
        for text in ["1e-10", "0.0000000001", "1700000000.0123456789", "1e-99999999999999999999"] {
            assert_eq!(EpochUnit::Seconds.of(text), Err(TOO_FINE), "{text}");
        }
        assert_eq!(EpochUnit::Milliseconds.of("0.0000001"), Err(TOO_FINE));
    }

    /// A number of nanoseconds, written with the point or exponent anywhere.
    fn spellings(nanoseconds: i128, places: u32, shift: i32) -> [String; 2] {
        let one = 10_i128.pow(places);
        let sign = if nanoseconds < 0 { "-" } else { "" };
        let (whole, fraction) = (nanoseconds.abs() / one, nanoseconds.abs() % one);
        let width = usize::try_from(places).unwrap();
        let exponent = -i32::try_from(places).unwrap() - shift;
        let padding = "0".repeat(usize::try_from(shift).unwrap());
        [
            format!("{sign}{whole}.{fraction:0width$}"),
            match nanoseconds {
                0 => "-0E5".to_owned(),
                _ => format!("{sign}{}{padding}e{exponent}", nanoseconds.abs()),
            },
        ]
    }

    proptest! {
        #[test]
        fn the_time_is_that_of_integer_arithmetic(
            nanoseconds in -62_135_596_800_000_000_000_i128..253_402_300_800_000_000_000, shift in 0_i32..5,
        ) {
            let seconds = i64::try_from(nanoseconds.div_euclid(1_000_000_000)).unwrap();
            let rest = nanoseconds.rem_euclid(1_000_000_000);
            let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
            for (unit, places) in [(EpochUnit::Seconds, 9), (EpochUnit::Milliseconds, 6)] {
                for number in spellings(nanoseconds, places, shift) {
                    let time = unit.of(&number).unwrap();
                    let civil: DateTime = time.trim_end_matches('Z').parse().unwrap();
                    let day = Date::new(1970, 1, 1).unwrap().duration_until(civil.date()).as_hours() / 24;
                    let clock = i64::from(civil.hour()) * 3600 + i64::from(civil.minute()) * 60 + i64::from(civil.second());
                    prop_assert_eq!((day, clock), (days, second), "{}", number);
                    prop_assert_eq!(i128::from(civil.subsec_nanosecond()), rest);
                }
            }
        }

        #[test]
        fn any_text_is_a_time_or_refused(text in r"-?[0-9.eE+-]{0,24}") {
            for unit in [EpochUnit::Seconds, EpochUnit::Milliseconds] {
                if let Ok(time) = unit.of(&text) {
                    prop_assert!(text.parse::<f64>().is_ok() && time.ends_with('Z'));
                }
            }
        }
    }
}
