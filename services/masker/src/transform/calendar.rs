//! The calendar that Postgres and ISO 8601 share: the years 1 to 9999.

use jiff::civil::{Date, DateTime};

/// The day in ISO 8601; `None` for years that four digits cannot name, and for the year 0, which Postgres
/// does not have.
pub(super) fn day_text(date: Date) -> Option<String> {
    (date.year() >= 1).then(|| date.to_string())
}

/// A time in UTC in ISO 8601; `None` as for [`day_text`].
pub(super) fn utc_text(time: DateTime) -> Option<String> {
    (time.year() >= 1).then(|| format!("{time}Z"))
}
