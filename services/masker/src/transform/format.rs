//! `date` and `timestamp`: a text in a format that the policy declares, as a day or time in ISO 8601.

use std::sync::Arc;

use jiff::Zoned;
use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::{AmbiguousTimestamp, Offset, TimeZone};

use super::calendar::{day_text, utc_text};
use super::format_parts;
use crate::fault::Fault;

const OTHER_FORMAT: Fault = Fault::invalid("not in the format of the policy, or no such day or time");
const LEAP_SECOND: Fault = Fault::out_of_range("a leap second, which the database does not have");
const AMBIGUOUS: Fault =
    Fault::invalid("a time that a clock change skips or repeats in the policy's time zone");
const NO_SUCH_TIME: Fault = Fault::out_of_range("not a time of the years 1 to 9999");

/// A `strptime` format that gives a day.
#[derive(Clone, Debug)]
pub(crate) struct DateFormat(Arc<str>);

/// A `strptime` format that gives a time.
#[derive(Clone, Debug)]
pub(crate) struct TimestampFormat {
    format: Arc<str>,
    /// For a format without an offset.
    zone: Option<TimeZone>,
}

impl DateFormat {
    /// Checks that a day survives being written and read in `format`. The error says what is wrong.
    pub(crate) fn new(format: &str) -> Result<Self, String> {
        let sample = sample()?;
        let read = round_trip(format, &sample)?.to_date();
        let read = read.map_err(|error| format!("gives no day: {error}"))?;
        if read == sample.date() {
            Ok(Self(format.into()))
        } else {
            Err("gives another day than was written".to_owned())
        }
    }

    /// The day as it is written, in ISO 8601. A time of day or an offset beside it changes nothing.
    pub(super) fn of(&self, text: &str) -> Result<String, Fault> {
        let date = parse(&self.0, text)?.to_date().map_err(|_| OTHER_FORMAT)?;
        day_text(date).ok_or(NO_SUCH_TIME)
    }
}

impl TimestampFormat {
    /// Checks that an hour survives being written and read in `format`. `zone` is for formats without an
    /// offset, UTC if it is `None`. The error says what is wrong.
    pub(crate) fn new(format: &str, zone: Option<TimeZone>) -> Result<Self, String> {
        let sample = sample()?;
        let read = round_trip(format, &sample)?;
        if is_absolute(&read) {
            if zone.is_some() {
                return Err(
                    "has an offset or time zone of its own, so that `timezone` has no effect".to_owned()
                );
            }
            let time = utc(&read).map_err(|fault| format!("gives no time: {}", fault.rule))?;
            let same = time == Offset::UTC.to_datetime(sample.timestamp());
            return if same {
                Ok(Self { format: format.into(), zone: None })
            } else {
                Err(OTHER_TIME.to_owned())
            };
        }
        let time = read.to_datetime().map_err(|error| format!("gives no time: {error}"))?;
        if time != sample.datetime() {
            return Err(OTHER_TIME.to_owned());
        }
        Ok(Self { format: format.into(), zone: Some(zone.unwrap_or(TimeZone::UTC)) })
    }

    /// The time in UTC, in ISO 8601.
    pub(super) fn of(&self, text: &str) -> Result<String, Fault> {
        let read = parse(&self.format, text)?;
        let time = match &self.zone {
            Some(zone) => in_zone(&read, zone)?,
            None => utc(&read)?,
        };
        utc_text(time).ok_or(NO_SUCH_TIME)
    }
}

const OTHER_TIME: &str =
    "gives another time than was written; it needs a day and an hour, `%I` only with `%p`";

/// A time in which no two parts are equal, in a zone with an offset.
fn sample() -> Result<Zoned, String> {
    let sample =
        Date::new(2024, 2, 29).map(|date| date.at(13, 0, 0, 0)).and_then(|time| time.in_tz("Europe/Berlin"));
    sample.map_err(|error| error.to_string())
}

fn round_trip(format: &str, sample: &Zoned) -> Result<BrokenDownTime, String> {
    format_parts::check(format)?;
    let written = jiff::fmt::strtime::format(format, sample).map_err(|error| error.to_string())?;
    BrokenDownTime::parse(format, written).map_err(|error| error.to_string())
}

fn parse(format: &str, text: &str) -> Result<BrokenDownTime, Fault> {
    let read = BrokenDownTime::parse(format, text).map_err(|_| OTHER_FORMAT)?;
    if read.second() == Some(59) && is_leap_second(format, text, &read) { Err(LEAP_SECOND) } else { Ok(read) }
}

/// jiff reads the second 60 as 59. A 60 is the second if 59 in its place means the same.
fn is_leap_second(format: &str, text: &str, read: &BrokenDownTime) -> bool {
    let same = |(at, found): (usize, &str)| {
        let (before, after) =
            (text.get(..at).unwrap_or_default(), text.get(at + found.len()..).unwrap_or_default());
        let with_59 = BrokenDownTime::parse(format, format!("{before}59{after}"));
        with_59.is_ok_and(|other| parts(&other) == parts(read))
    };
    text.match_indices("60").any(same)
}

/// Everything that a time is made of, to compare two.
fn parts(read: &BrokenDownTime) -> impl PartialEq + use<> {
    (
        read.to_datetime().ok(),
        read.to_date().ok(),
        read.offset(),
        read.timestamp(),
        read.iana_time_zone().map(str::to_owned),
    )
}

/// Whether the text itself says which time it is anywhere in the world.
fn is_absolute(read: &BrokenDownTime) -> bool {
    read.offset().is_some() || read.iana_time_zone().is_some() || read.timestamp().is_some()
}

fn utc(read: &BrokenDownTime) -> Result<DateTime, Fault> {
    match (read.timestamp(), read.offset(), read.iana_time_zone()) {
        (None, None, Some(zone)) => in_zone(read, &TimeZone::get(zone).map_err(|_| OTHER_FORMAT)?),
        (None, Some(_), Some(_)) => {
            let zoned = read.to_zoned().map_err(|_| OTHER_FORMAT)?;
            Ok(Offset::UTC.to_datetime(zoned.timestamp()))
        }
        _ => Ok(Offset::UTC.to_datetime(read.to_timestamp().map_err(|_| OTHER_FORMAT)?)),
    }
}

fn in_zone(read: &BrokenDownTime, zone: &TimeZone) -> Result<DateTime, Fault> {
    let time = read.to_datetime().map_err(|_| OTHER_FORMAT)?;
    // Timestamps end a few hours before civil times do.
    if zone == &TimeZone::UTC {
        return Ok(time);
    }
    let ambiguous: AmbiguousTimestamp = zone.to_ambiguous_timestamp(time);
    if ambiguous.is_ambiguous() {
        return Err(AMBIGUOUS);
    }
    ambiguous.unambiguous().map(|time| Offset::UTC.to_datetime(time)).map_err(|_| NO_SUCH_TIME)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(format: &str, text: &str) -> Result<String, Fault> {
        DateFormat::new(format).unwrap().of(text)
    }

    fn time(format: &str, zone: Option<&str>, text: &str) -> Result<String, Fault> {
        TimestampFormat::new(format, zone.map(|name| TimeZone::get(name).unwrap())).unwrap().of(text)
    }

    #[test]
    fn days_are_read_in_the_declared_format_only() {
        for (format, text) in [
            ("%d.%m.%Y", "28.11.2026"),
            ("%d.%m.%Y", "28.11.2026"),
            ("%m/%d/%y", "11/28/26"),
            ("%d %B %Y", "28 november 2026"),
            ("%a, %d %b %Y", "Sat, 28 Nov 2026"),
            ("%Y%m%d", "20261128"),
            ("%Y-%j", "2026-332"),
            ("%G-W%V-%u", "2026-W48-6"),
            ("%d/%b/%Y:%H:%M:%S %z", "28/Nov/2026:23:59:59 -0800"),
        ] {
            assert_eq!(day(format, text).as_deref(), Ok("2026-11-28"), "{format}");
        }
        for text in ["11/28/2026", "28.11.26x", "28.11.2026 ", "31.11.2026", "", "28.11", "29.02.2026"] {
            assert_eq!(day("%d.%m.%Y", text), Err(OTHER_FORMAT), "{text}");
        }
        assert_eq!(day("%a, %d %b %Y", "Fri, 28 Nov 2026"), Err(OTHER_FORMAT), "it was a Saturday");
        assert_eq!(day("%d.%m.%Y", "01.01.0000"), Err(NO_SUCH_TIME));
    }

    /// The examples of <https://www.rfc-editor.org/rfc/rfc3339#section-5.8>, and others.
    #[test]
    fn times_are_in_utc() {
        for (format, zone, text, expected) in [
            ("%Y-%m-%dT%H:%M:%S%.f%:z", None, "1985-04-12T23:20:50.52+00:00", "1985-04-12T23:20:50.52Z"),
            ("%Y-%m-%dT%H:%M:%S%:z", None, "1996-12-19T16:39:57-08:00", "1996-12-20T00:39:57Z"),
            ("%Y-%m-%dT%H:%M:%S%.f%:z", None, "1937-01-01T12:00:27.87+00:20", "1937-01-01T11:40:27.87Z"),
            ("%d/%b/%Y:%H:%M:%S %z", None, "10/Oct/2000:13:55:36 -0700", "2000-10-10T20:55:36Z"),
            ("%d.%m.%Y %H:%M", None, "29.11.2026 10:15", "2026-11-29T10:15:00Z"),
            ("%d.%m.%Y %H:%M", Some("Europe/Berlin"), "29.11.2026 10:15", "2026-11-29T09:15:00Z"),
            ("%d.%m.%Y %H:%M", Some("Europe/Berlin"), "29.07.2026 10:15", "2026-07-29T08:15:00Z"),
            ("%m/%d/%Y %I:%M %p", Some("America/New_York"), "11/29/2026 12:15 AM", "2026-11-29T05:15:00Z"),
            ("%s", None, "1700000000", "2023-11-14T22:13:20Z"),
            ("%F %T %Q", None, "2026-11-29 10:15:00 Asia/Tokyo", "2026-11-29T01:15:00Z"),
            ("%F %T", None, "9999-12-31 23:59:59", "9999-12-31T23:59:59Z"),
            ("%F %H:%M:%S", None, "1960-06-06 06:06:59", "1960-06-06T06:06:59Z"),
        ] {
            assert_eq!(time(format, zone, text).as_deref(), Ok(expected), "{format} {text}");
        }
    }

    #[test]
    fn no_time_is_guessed() {
        let berlin = |text: &str| time("%F %T", Some("Europe/Berlin"), text);
        assert_eq!(berlin("2026-10-25 02:30:00"), Err(AMBIGUOUS), "there are two");
        assert_eq!(berlin("2026-03-29 02:30:00"), Err(AMBIGUOUS), "there is none");
        assert_eq!(time("%F %T %Q", None, "2026-10-25 02:30:00 Europe/Berlin"), Err(AMBIGUOUS));
        assert_eq!(time("%F %T %Q", None, "2026-10-25 02:30:00 Europe/Nowhere"), Err(OTHER_FORMAT));
        assert_eq!(time("%F %T", None, "2016-12-31 23:59:60"), Err(LEAP_SECOND));
        assert_eq!(day("%F %T", "1960-12-31 23:59:60"), Err(LEAP_SECOND));
        assert_eq!(time("%F %T", None, "2016-12-31 23:59:61"), Err(OTHER_FORMAT));
        assert_eq!(time("%F %T", None, "0000-12-31 23:59:50"), Err(NO_SUCH_TIME));
    }

    #[test]
    fn formats_that_lose_something_are_refused() {
        for format in ["", "%d.%m.", "%Y-%m", "%H:%M", "%Y %q", "%", "%J", "x", "%s"] {
            assert!(DateFormat::new(format).is_err(), "{format}");
        }
        for format in ["%F", "%F %I:%M", "%H:%M", "%F %M", "%F %H %Z", "%c", "%F %", "%F %s", "%s%.f"] {
            assert!(TimestampFormat::new(format, None).is_err(), "{format}");
        }
        let refused = TimestampFormat::new("%F %T %z", Some(TimeZone::UTC)).unwrap_err();
        assert!(refused.contains("`timezone` has no effect"), "{refused}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in r"\PC{0,24}|[0-9]{1,4}-[0-9]{1,2}-[0-9]{1,2} [0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}") {
            if let Ok(read) = day("%F %T", &text) {
                prop_assert_eq!(read.len(), 10);
            }
            drop(time("%F %T", Some("America/New_York"), &text));
        }
    }
}
