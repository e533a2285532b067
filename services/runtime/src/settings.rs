//! Settings that every service has, and how durations and sizes are written.

use std::time::Duration;

use clap::{Args, ValueEnum};

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

    /// Which log lines appear: a level, or directives such as info,veilpost_reader=debug
    #[arg(
        long,
        env = "VEILPOST_LOG",
        default_value = "info",
        help_heading = "Process",
        value_name = "FILTER"
    )]
    pub log: String,

    /// How long a drain may take after SIGTERM before what is left is given back; keep it below the
    /// orchestrator's own limit
    #[arg(long, env = "VEILPOST_GRACE_PERIOD", default_value = "25s", value_parser = parse_duration,
          help_heading = "Process", value_name = "DURATION")]
    pub grace_period: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Auto,
    Pretty,
    Json,
}

/// A duration such as `250ms`, `30s`, `5m` or `12h`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_unit(text);
    let number: u64 =
        number.parse().map_err(|_| format!("`{text}` is no duration; write 250ms, 30s, 5m or 12h"))?;
    let seconds = |factor: u64| number.checked_mul(factor).map(Duration::from_secs);
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3600),
        _ => return Err(format!("`{text}` needs a unit: ms, s, m or h")),
    }
    .ok_or_else(|| format!("`{text}` is too long"))
}

/// A size in bytes such as `1000`, `64KiB` or `32MiB`.
pub fn parse_bytes(text: &str) -> Result<usize, String> {
    let (number, unit) = split_unit(text);
    let number: usize =
        number.parse().map_err(|_| format!("`{text}` is no size; write 65536, 64KiB or 32MiB"))?;
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
    fn durations_need_a_number_and_a_unit() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("12h"), Ok(Duration::from_hours(12)));
        assert!(parse_duration("30").unwrap_err().contains("unit"));
        assert!(parse_duration("s").is_err());
        assert!(parse_duration("-1s").is_err());
        assert!(parse_duration("99999999999999999h").is_err());
    }

    #[test]
    fn sizes_are_plain_or_binary() {
        assert_eq!(parse_bytes("1000"), Ok(1000));
        assert_eq!(parse_bytes("64KiB"), Ok(65_536));
        assert!(parse_bytes("64KB").is_err());
        assert!(parse_bytes("99999999999GiB").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in ".*") {
            let parsed = (parse_duration(&text).is_ok(), parse_bytes(&text).is_ok());
            prop_assert!(!(parsed.0 && parsed.1), "a duration has a unit that no size has");
        }
    }
}
