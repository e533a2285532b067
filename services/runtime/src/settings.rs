//! Settings that every service has, and how durations and sizes are written.

use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::SignedDuration;

use crate::telemetry::LogFilter;

/// Settings that every service has.
#[derive(Args, Clone, Debug)]
pub struct CommonSettings {
    /// How log lines look; auto: pretty on a terminal, JSON elsewhere
    #[arg(
        long,
        env = "VEILPOST_LOG_FORMAT",
        default_value = "auto",
        help_heading = "Process",
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,

    /// Which log lines appear: off, error, warn, info, debug or trace, and another level for single parts,
    /// such as info,veilpost_reader=debug. Lines of libraries never appear
    #[arg(
        long,
        env = "VEILPOST_LOG",
        default_value = "info",
        value_parser = parse_log_filter,
        help_heading = "Process",
        value_name = "FILTER"
    )]
    pub log: LogFilter,

    /// How long a drain may take after SIGTERM before what is left is given back; keep it below the
    /// orchestrator's own limit
    #[arg(long, env = "VEILPOST_GRACE_PERIOD", default_value = "25s", value_parser = parse_duration,
          help_heading = "Process", value_name = "DURATION")]
    pub grace_period: Duration,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    #[allow(missing_docs, reason = "clap would show it as help")]
    Auto,
    #[allow(missing_docs, reason = "clap would show it as help")]
    Pretty,
    #[allow(missing_docs, reason = "clap would show it as help")]
    Json,
}

fn parse_log_filter(text: &str) -> Result<LogFilter, String> {
    text.parse()
}

/// Parses a duration such as `250ms`, `30s`, `1m 30s` or `12h`.
///
/// Everything that jiff's [friendly format](jiff::fmt::friendly) allows up to hours is accepted.
///
/// ```
/// use std::time::Duration;
/// use veilpost_runtime::parse_duration;
///
/// assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
/// assert!(parse_duration("250").is_err(), "the unit is missing");
/// ```
///
/// # Errors
///
/// When `text` has no number or no unit, is negative, or is too long for a [`Duration`]. The message shows
/// `text` and what to write instead.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let parsed: Option<SignedDuration> = text.trim().parse().ok();
    parsed.and_then(|duration| Duration::try_from(duration).ok()).ok_or_else(|| {
        format!("`{text}` is not a duration; write a number with a unit, such as 250ms, 30s, 5m or 12h")
    })
}

/// Parses a size in bytes such as `1000`, `64KiB` or `32MiB`; units are B, KiB, MiB and GiB.
///
/// # Errors
///
/// When `text` has no number or an unknown unit, or does not fit a `usize`. The message shows `text` and what
/// to write instead.
pub fn parse_bytes(text: &str) -> Result<usize, String> {
    let (number, unit) = split_unit(text);
    let number: usize =
        number.parse().map_err(|_| format!("`{text}` is not a size; write 65536, 64KiB or 32MiB"))?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(format!("`{text}` has an unknown unit; use B, KiB, MiB or GiB")),
    };
    number.checked_mul(factor).ok_or_else(|| format!("`{text}` is too large"))
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    (number, unit.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_numbers_with_units() {
        let table = [
            ("250ms", 250),
            ("0s", 0),
            ("30s", 30_000),
            ("5m", 300_000),
            ("12h", 43_200_000),
            ("1000000h", 3_600_000_000_000),
            (" 30s ", 30_000),
            ("30 s", 30_000),
            ("1h30m", 5_400_000),
            ("1m 30s", 90_000),
            ("1.5s", 1_500),
            ("2 minutes", 120_000),
        ];
        for (text, milliseconds) in table {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn durations_without_number_or_unit_and_negative_ones_are_refused_by_name() {
        for text in ["30", "s", "", "-1s", "1s ago", "99999999999999999h", "5x", "1 day", "ms30"] {
            let refusal = parse_duration(text).unwrap_err();
            assert!(refusal.contains(&format!("`{text}`")) && refusal.contains("unit"), "{refusal}");
        }
    }

    #[test]
    fn sizes_are_plain_numbers_or_have_binary_units() {
        assert_eq!(parse_bytes("1000"), Ok(1000));
        assert_eq!(parse_bytes("64KiB"), Ok(65_536));
        assert!(parse_bytes("64KB").is_err());
        assert!(parse_bytes("99999999999GiB").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in ".*") {
            let parsed = (parse_duration(&text).is_ok(), parse_bytes(&text).is_ok());
            prop_assert!(!(parsed.0 && parsed.1), "a duration has a unit that no size has");
        }
    }
}
