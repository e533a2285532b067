//! Date and time columns: ISO 8601 and nothing else.
//!
//! Postgres also reads texts whose day and month change places with a setting, and it drops an offset that a
//! column has no room for. Whatever is accepted here means the same under any setting.

use jiff::civil::Date;
use veilpost_proto::masked::ValueRef;

use super::verdict::{Input, Verdict};
use crate::catalogue::DateTimeType;

/// Postgres stores microseconds and rounds what is finer; a longer fraction is no time.
const FRACTION_DIGITS: usize = 12;

/// Postgres takes offsets below 16 hours.
const OFFSET_HOURS: i16 = 15;

const NO_SUCH_TIME: &str = "no such date or time";

pub(super) fn convert(given: ValueRef<'_>, date_time_type: DateTimeType) -> Verdict {
    match given {
        ValueRef::Text(text) => judge(text.trim_ascii(), date_time_type),
        ValueRef::Number(_) | ValueRef::Boolean(_) | ValueRef::Json(_) => {
            Verdict::invalid("a number or boolean where a date or time is needed")
        }
    }
}

/// Accepts or rejects a text; never leaves it to Postgres.
pub(super) fn judge(text: &str, date_time_type: DateTimeType) -> Verdict {
    if matches!(text, "infinity" | "-infinity") && has_date(date_time_type) {
        return Verdict::Accept(Input::AsGiven);
    }
    let Some(parsed) = Parsed::parse(text.as_bytes(), date_time_type) else {
        return Verdict::invalid(no_iso_8601(text, date_time_type));
    };
    if parsed.exists { parsed.fit(text, date_time_type) } else { Verdict::out_of_range(NO_SUCH_TIME) }
}

fn has_date(date_time_type: DateTimeType) -> bool {
    !matches!(date_time_type, DateTimeType::Time | DateTimeType::TimeWithTimeZone)
}

fn no_iso_8601(text: &str, date_time_type: DateTimeType) -> &'static str {
    if is_relative(text) {
        return "a word whose meaning depends on the time of storing";
    }
    match date_time_type {
        DateTimeType::Date => "not a date in ISO 8601, such as 2026-11-29",
        DateTimeType::Time => "not a time in ISO 8601, such as 10:15:00",
        DateTimeType::TimeWithTimeZone => "not a time in ISO 8601, such as 10:15:00+01:00",
        DateTimeType::Timestamp => "not a date and time in ISO 8601, such as 2026-11-29T10:15:00",
        DateTimeType::TimestampWithTimeZone => {
            "not a date and time in ISO 8601, such as 2026-11-29T10:15:00+01:00"
        }
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

/// Whether there are separators; the basic form is written as in `20261129T101500Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    #[default]
    Extended,
    Basic,
}

/// A text that has the form of a date, a time, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Parsed {
    /// Whether there is such a date, such a time and such an offset.
    exists: bool,
    form: Form,
    /// Whether the time is 24:00 or a leap second, which belong to what follows.
    carries: bool,
    /// Whether it has an offset other than zero.
    is_offset: bool,
}

impl Parsed {
    fn parse(text: &[u8], date_time_type: DateTimeType) -> Option<Self> {
        let mut parsed = Self { exists: true, ..Self::default() };
        if !has_date(date_time_type) {
            return parsed.take_time(text).then_some(parsed);
        }
        let rest = parsed.take_date(text)?;
        match rest {
            [] => Some(parsed),
            [b'T' | b't' | b' ', time @ ..] => parsed.take_time(time).then_some(parsed),
            _ => None,
        }
    }

    /// Takes `YYYY-MM-DD` or `YYYYMMDD` off the front; the year zero does not exist in Postgres.
    fn take_date<'text>(&mut self, text: &'text [u8]) -> Option<&'text [u8]> {
        let (year, rest) = digits::<4>(text)?;
        self.form = if rest.starts_with(b"-") { Form::Extended } else { Form::Basic };
        let (month, rest) = digits::<2>(self.separated(rest, b'-')?)?;
        let (day, rest) = digits::<2>(self.separated(rest, b'-')?)?;
        self.exists = year > 0
            && matches!((i8::try_from(month), i8::try_from(day)),
                (Ok(month), Ok(day)) if Date::new(year, month, day).is_ok());
        Some(rest)
    }

    /// Takes `HH:MM[:SS[.fraction]]` or `HHMM[SS[.fraction]]`, with an optional offset, to the end.
    fn take_time(&mut self, text: &[u8]) -> bool {
        let Some((hour, minute, second, rest)) = self.split_time(text) else { return false };
        self.exists &= match (hour, minute, second) {
            (0..=23, 0..=59, 0..=59) => true,
            (24, 0, 0) | (0..=23, 59, 60) => {
                self.carries = true;
                true
            }
            _ => false,
        };
        self.take_offset(rest)
    }

    fn split_time(self, text: &[u8]) -> Option<(i16, i16, i16, &[u8])> {
        let (hour, rest) = digits::<2>(text)?;
        let (minute, rest) = digits::<2>(self.separated(rest, b':')?)?;
        let starts_second = match self.form {
            Form::Basic => rest.first().is_some_and(u8::is_ascii_digit),
            Form::Extended => rest.starts_with(b":"),
        };
        if !starts_second {
            return Some((hour, minute, 0, rest));
        }
        let (second, rest) = digits::<2>(self.separated(rest, b':')?)?;
        let Some(fraction) = rest.strip_prefix(b".") else { return Some((hour, minute, second, rest)) };
        let places = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        // A fraction after 24:00:00 is past the end of the day.
        let past_the_end = hour == 24 && fraction.iter().take(places).any(|digit| *digit != b'0');
        let second = if past_the_end { 1 } else { second };
        (1..=FRACTION_DIGITS).contains(&places).then_some((hour, minute, second, fraction.get(places..)?))
    }

    /// Takes nothing, `Z`, or an offset from UTC, to the end.
    fn take_offset(&mut self, text: &[u8]) -> bool {
        let offset = match text {
            [] | [b'Z' | b'z'] => return true,
            [b'+' | b'-', offset @ ..] => offset,
            _ => return false,
        };
        let Some((hours, rest)) = digits::<2>(offset) else { return false };
        let minutes = digits::<2>(rest.strip_prefix(b":").unwrap_or(rest));
        let minutes = match (rest, minutes) {
            ([], _) => 0,
            (_, Some((minutes, []))) => minutes,
            _ => return false,
        };
        self.exists &= (0..=OFFSET_HOURS).contains(&hours) && (0..=59).contains(&minutes);
        self.is_offset = (hours, minutes) != (0, 0);
        true
    }

    fn separated(self, text: &[u8], separator: u8) -> Option<&[u8]> {
        match self.form {
            Form::Basic => Some(text),
            Form::Extended => text.strip_prefix(&[separator]),
        }
    }

    /// Whether the type has room for all of it.
    fn fit(self, text: &str, date_time_type: DateTimeType) -> Verdict {
        match date_time_type {
            DateTimeType::Date | DateTimeType::Time | DateTimeType::Timestamp if self.is_offset => {
                Verdict::invalid(
                    "has an offset, the column has none: send the time in UTC, or change the column's type",
                )
            }
            DateTimeType::Date if self.carries => {
                Verdict::out_of_range("a time that belongs to the next day")
            }
            _ if self.form == Form::Basic => Verdict::Accept(Input::Made(extended(text))),
            _ => Verdict::Accept(Input::AsGiven),
        }
    }
}

/// A text without separators, with them.
fn extended(text: &str) -> String {
    let (date, time) = text.split_at(8);
    let (year, month_and_day) = date.split_at(4);
    let (month, day) = month_and_day.split_at(2);
    let mut made = format!("{year}-{month}-{day}");
    if !time.is_empty() {
        let digits = time.bytes().skip(1).take_while(u8::is_ascii_digit).count();
        for (index, character) in time.chars().enumerate() {
            let starts_pair = index > 1 && index <= digits && index % 2 == 1;
            made.extend(starts_pair.then_some(':'));
            made.push(character);
        }
    }
    made
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
    use veilpost_proto::v1::Reason;

    fn verdict(text: &str, date_time_type: DateTimeType) -> &'static str {
        match judge(text, date_time_type) {
            Verdict::Accept(_) => "fine",
            Verdict::Unsure(_) => "unsure",
            Verdict::Reject(rejection) if rejection.reason == Reason::OutOfRange => "range",
            Verdict::Reject(rejection) if rejection.rule.starts_with("has an offset") => "offset",
            Verdict::Reject(_) => "invalid",
        }
    }

    fn all(cases: &[(&str, &str)], date_time_type: DateTimeType) {
        for (text, expected) in cases {
            assert_eq!(verdict(text, date_time_type), *expected, "{text} as {date_time_type:?}");
        }
    }

    #[test]
    fn dates_are_checked_against_the_calendar() {
        let cases = [
            ("2024-02-29", "fine"),
            ("20240229", "fine"),
            ("2023-02-30", "range"),
            ("2023-13-01", "range"),
            ("2023-13-01T00:00:00Z", "range"),
            ("0000-01-01", "range"),
            ("2024-02-29T10:00:00", "fine"),
            ("2024-02-29T10:00:00Z", "fine"),
            ("2024-02-29T10:00:00+05:00", "offset"),
            ("2024-02-29T24:00:00", "range"),
            ("2024-02-29T10:00:00 PST", "invalid"),
            ("2024-2-9", "invalid"),
            ("2023-02-30 BC", "invalid"),
            ("infinity", "fine"),
            ("epoch", "invalid"),
            ("", "invalid"),
        ];
        all(&cases, DateTimeType::Date);
    }

    #[test]
    fn no_text_whose_day_and_month_could_change_places_is_taken() {
        for text in [
            "29/11/2026",
            "11/29/2026",
            "1/2/2026",
            "01-02-2026",
            "01.02.2026",
            "1.2.26",
            "26-01-02",
            "2026/01/02",
            "010226",
            "Jan 2 2026",
            "2 Jan 2026",
            "2026-Jan-02",
            "2026 01 02",
            "02-Jan-2026",
            "J2451187",
            "2026.033",
            "2026-033",
            "01/02/2026 10:15",
            "2026-01-02 BC",
            "10:15 01/02/2026",
            "12026-01-02",
        ] {
            for date_time_type in
                [DateTimeType::Date, DateTimeType::Timestamp, DateTimeType::TimestampWithTimeZone]
            {
                assert_eq!(verdict(text, date_time_type), "invalid", "{text}");
            }
        }
    }

    #[test]
    fn words_that_mean_the_time_of_storing_are_refused_by_name() {
        for text in ["now", "TODAY", "tomorrow", "yesterday 04:05"] {
            assert!(is_relative(text), "{text}");
            assert_eq!(verdict(text, DateTimeType::Date), "invalid");
        }
        for text in ["2024-02-29", "infinity", "epoch", "Feb 29 2024", "3 days", "nowhere"] {
            assert!(!is_relative(text), "{text}");
        }
    }

    #[test]
    fn timestamps_are_checked_in_all_parts() {
        let cases = [
            ("2024-02-29", "fine"),
            ("2024-02-29T10:11", "fine"),
            ("2024-02-29t10:11:12z", "fine"),
            ("2024-02-29 10:11:12.123456789+05:30", "fine"),
            ("2024-02-29T10:11:12-0800", "fine"),
            ("20240229T101112.5Z", "fine"),
            ("20240229T1011-08", "fine"),
            ("20240229T10:11:12Z", "invalid"),
            ("2024-02-29T101112Z", "invalid"),
            ("2024-02-29T24:00:00Z", "fine"),
            ("2024-02-29T24:00:00.1Z", "range"),
            ("2024-02-29T24:00:01Z", "range"),
            ("2024-02-29T23:59:60Z", "fine"),
            ("2024-02-29T10:11:60Z", "range"),
            ("2024-02-29T25:00:00Z", "range"),
            ("2024-02-29T10:61:00", "range"),
            ("2024-02-30T10:11:12Z", "range"),
            ("2024-02-29T10:11:12+99:00", "range"),
            ("2024-02-29T10:11:12+05:60", "range"),
            ("2024-02-29T10:11:12+05:", "invalid"),
            ("2024-02-29T10:11:12 Europe/Paris", "invalid"),
            ("2024-02-29T10:11:12.", "invalid"),
            ("2024-02-29T", "invalid"),
        ];
        all(&cases, DateTimeType::TimestampWithTimeZone);
    }

    #[test]
    fn an_offset_goes_only_where_there_is_room_for_it() {
        for (offset, expected) in [
            ("", "fine"),
            ("Z", "fine"),
            ("+00:00", "fine"),
            ("-00", "fine"),
            ("+05:00", "offset"),
            ("-0030", "offset"),
        ] {
            assert_eq!(verdict(&format!("2024-02-29T10:11:12{offset}"), DateTimeType::Timestamp), expected);
            assert_eq!(verdict(&format!("2024-02-29T10:11:12{offset}"), DateTimeType::Date), expected);
            assert_eq!(verdict(&format!("10:11:12{offset}"), DateTimeType::Time), expected);
            assert_eq!(verdict(&format!("10:11:12{offset}"), DateTimeType::TimeWithTimeZone), "fine");
        }
    }

    #[test]
    fn times_have_no_date() {
        for (text, expected) in [
            ("10:11", "fine"),
            ("24:00:00", "fine"),
            ("25:00", "range"),
            ("2024-02-29T10:11", "invalid"),
            ("10:11 PM", "invalid"),
        ] {
            assert_eq!(verdict(text, DateTimeType::Time), expected, "{text}");
        }
    }

    #[test]
    fn the_form_without_separators_is_written_with_them() {
        for (basic, made) in [
            ("20240229", "2024-02-29"),
            ("20240229T1011", "2024-02-29T10:11"),
            ("20240229T101112.25-0800", "2024-02-29T10:11:12.25-0800"),
            ("20240229T101112Z", "2024-02-29T10:11:12Z"),
        ] {
            let expected = Verdict::Accept(Input::Made(made.to_owned()));
            assert!(judge(basic, DateTimeType::TimestampWithTimeZone) == expected, "{basic}");
        }
    }

    #[test]
    fn numbers_are_no_dates() {
        assert!(matches!(convert(ValueRef::Number("20240229"), DateTimeType::Date), Verdict::Reject(_)));
    }

    const TYPES: [DateTimeType; 5] = [
        DateTimeType::Date,
        DateTimeType::Time,
        DateTimeType::TimeWithTimeZone,
        DateTimeType::Timestamp,
        DateTimeType::TimestampWithTimeZone,
    ];

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_none_is_left_to_postgres(text in ".*", digits in "[0-9TtZz:. +-]{0,30}") {
            for date_time_type in TYPES {
                for text in [&text, &digits, &format!("2024-01-01T{digits}"), &format!("20240101T{digits}")] {
                    prop_assert!(!matches!(judge(text, date_time_type), Verdict::Unsure(_)));
                }
            }
        }

        #[test]
        fn what_is_taken_as_a_date_begins_with_four_digits_of_a_year(text in "[0-9/. -]{1,12}") {
            if verdict(&text, DateTimeType::Date) == "fine" {
                let (year, rest) = text.split_at(4);
                prop_assert!(year.bytes().all(|byte| byte.is_ascii_digit()), "{}", text);
                prop_assert!(rest.starts_with('-') || text.len() == 8, "{}", text);
            }
        }
    }
}
