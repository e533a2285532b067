//! Date and time columns: common forms of ISO 8601 are judged here, all others by Postgres.

use jiff::civil::Date;
use veilpost_proto::masked::ValueRef;

use super::verdict::{Input, Verdict};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DateTimeType {
    Date,
    /// With or without time zone.
    Timestamp,
    /// Times and intervals.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    Fine,
    OutOfRange,
    /// A form that only Postgres can judge.
    Unknown,
}

pub(super) fn convert(given: ValueRef<'_>, date_time_type: DateTimeType) -> Verdict {
    let text = match given {
        ValueRef::Text(text) => text,
        ValueRef::Number(_) | ValueRef::Boolean(_) | ValueRef::Json(_) => {
            return Verdict::invalid("a number or boolean where a date or time is needed");
        }
    };
    match judge(text.as_bytes(), date_time_type) {
        Judgement::Fine => Verdict::Accept(Input::AsGiven),
        Judgement::OutOfRange => Verdict::out_of_range("no such date or time"),
        Judgement::Unknown if is_relative(text) => {
            Verdict::invalid("a word whose meaning depends on the time of storing")
        }
        Judgement::Unknown => Verdict::Unsure(Input::AsGiven),
    }
}

/// Postgres reads these words as the time of the statement, so each delivery of a message would store another
/// value. <https://www.postgresql.org/docs/current/datatype-datetime.html#DATATYPE-DATETIME-SPECIAL-VALUES>
fn is_relative(text: &str) -> bool {
    let words = text.split(|character: char| !character.is_ascii_alphabetic());
    words.into_iter().any(|word| {
        ["now", "today", "tomorrow", "yesterday"].iter().any(|relative| word.eq_ignore_ascii_case(relative))
    })
}

fn judge(text: &[u8], date_time_type: DateTimeType) -> Judgement {
    if date_time_type == DateTimeType::Other {
        return Judgement::Unknown;
    }
    let Some((date, rest)) = split_date(text) else { return Judgement::Unknown };
    match (rest, date_time_type) {
        _ if date == Judgement::OutOfRange && (rest.is_empty() || starts_time(rest)) => Judgement::OutOfRange,
        ([], _) => date,
        ([b'T' | b' ', time @ ..], DateTimeType::Timestamp) => judge_time(time),
        _ => Judgement::Unknown,
    }
}

fn starts_time(rest: &[u8]) -> bool {
    matches!(rest, [b'T' | b' ', hour, ..] if hour.is_ascii_digit())
}

/// Judges a leading `YYYY-MM-DD`; the year zero does not exist in Postgres.
fn split_date(text: &[u8]) -> Option<(Judgement, &[u8])> {
    let (year, rest) = digits::<4>(text)?;
    let (month, rest) = digits::<2>(rest.strip_prefix(b"-")?)?;
    let (day, rest) = digits::<2>(rest.strip_prefix(b"-")?)?;
    let exists = year > 0
        && matches!((i8::try_from(month), i8::try_from(day)),
            (Ok(month), Ok(day)) if Date::new(year, month, day).is_ok());
    Some((if exists { Judgement::Fine } else { Judgement::OutOfRange }, rest))
}

/// Judges `HH:MM[:SS[.fraction]]` with an optional offset.
fn judge_time(text: &[u8]) -> Judgement {
    let Some((hour, minute, second, rest)) = split_time(text) else { return Judgement::Unknown };
    if !is_offset(rest) {
        return Judgement::Unknown;
    }
    match (hour, minute, second) {
        (0..=23, 0..=59, 0..=59) => Judgement::Fine,
        // Postgres takes 24:00 and leap seconds in some places.
        (0..=24, 0..=59, 0..=60) => Judgement::Unknown,
        _ => Judgement::OutOfRange,
    }
}

fn split_time(text: &[u8]) -> Option<(i16, i16, i16, &[u8])> {
    let (hour, rest) = digits::<2>(text)?;
    let (minute, rest) = digits::<2>(rest.strip_prefix(b":")?)?;
    let Some(seconds) = rest.strip_prefix(b":") else { return Some((hour, minute, 0, rest)) };
    let (second, rest) = digits::<2>(seconds)?;
    match rest.strip_prefix(b".") {
        None => Some((hour, minute, second, rest)),
        Some(fraction) => {
            let places = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let rest = fraction.get(places..)?;
            (1..=9).contains(&places).then_some((hour, minute, second, rest))
        }
    }
}

/// Whether this is empty, `Z`, or an offset from UTC that is surely within Postgres's limit.
fn is_offset(text: &[u8]) -> bool {
    let Some((b'+' | b'-', offset)) = text.split_first() else { return text.is_empty() || text == b"Z" };
    let Some((hours, rest)) = digits::<2>(offset) else { return false };
    let minutes = digits::<2>(rest.strip_prefix(b":").unwrap_or(rest));
    hours <= 14 && (rest.is_empty() || matches!(minutes, Some((0..=59, []))))
}

/// Takes exactly `N` decimal digits off the front.
fn digits<const N: usize>(text: &[u8]) -> Option<(i16, &[u8])> {
    let (front, rest) = text.split_first_chunk::<N>()?;
    let all = front.iter().all(u8::is_ascii_digit);
    all.then(|| (front.iter().fold(0, |sum, byte| sum * 10 + i16::from(byte - b'0')), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_are_checked_against_the_calendar() {
        for (text, expected) in [
            ("2024-02-29", Judgement::Fine),
            ("2023-02-30", Judgement::OutOfRange),
            ("2023-13-01", Judgement::OutOfRange),
            ("2023-13-01T00:00:00Z", Judgement::OutOfRange),
            ("0000-01-01", Judgement::OutOfRange),
            ("2024-02-29T10:00:00Z", Judgement::Unknown),
            ("today", Judgement::Unknown),
            ("2024-2-9", Judgement::Unknown),
            ("2023-02-30 BC", Judgement::Unknown),
            ("", Judgement::Unknown),
        ] {
            assert_eq!(judge(text.as_bytes(), DateTimeType::Date), expected, "{text}");
        }
    }

    #[test]
    fn words_that_mean_the_time_of_storing_are_refused() {
        for text in ["now", "TODAY", " tomorrow", "yesterday 04:05"] {
            assert!(is_relative(text), "{text}");
        }
        for text in ["2024-02-29", "infinity", "epoch", "Feb 29 2024", "3 days", "nowhere"] {
            assert!(!is_relative(text), "{text}");
        }
    }

    #[test]
    fn timestamps_are_checked_in_all_parts() {
        for (text, expected) in [
            ("2024-02-29", Judgement::Fine),
            ("2024-02-29T10:11", Judgement::Fine),
            ("2024-02-29T10:11:12Z", Judgement::Fine),
            ("2024-02-29 10:11:12.123456789+05:30", Judgement::Fine),
            ("2024-02-29T10:11:12-0800", Judgement::Fine),
            ("2024-02-29T24:00:00Z", Judgement::Unknown),
            ("2024-02-29T10:11:60Z", Judgement::Unknown),
            ("2024-02-29T25:00:00Z", Judgement::OutOfRange),
            ("2024-02-29T10:61:00", Judgement::OutOfRange),
            ("2024-02-30T10:11:12Z", Judgement::OutOfRange),
            ("2024-02-29T10:11:12+99:00", Judgement::Unknown),
            ("2024-02-29T10:11:12 Europe/Paris", Judgement::Unknown),
            ("2024-02-29T", Judgement::Unknown),
        ] {
            assert_eq!(judge(text.as_bytes(), DateTimeType::Timestamp), expected, "{text}");
        }
    }

    #[test]
    fn numbers_are_no_dates() {
        assert!(matches!(convert(ValueRef::Number("20240229"), DateTimeType::Date), Verdict::Reject(_)));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            judge(text.as_bytes(), DateTimeType::Timestamp);
            judge(format!("2024-01-01T{text}").as_bytes(), DateTimeType::Timestamp);
        }
    }
}
