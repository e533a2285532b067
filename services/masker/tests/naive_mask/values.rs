//! What the naive masker makes of one text, by other means than the real one.

use std::net::IpAddr;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use veilpost_proto::v1::Reason;

/// Trimmed, in Form C and lower case; for texts of spaces, tabs, `A`, `a`, `e` and the acute accent only.
pub(crate) fn normal(text: &str) -> String {
    let pairs = [("e\u{301}", "é"), ("E\u{301}", "é"), ("a\u{301}", "á"), ("A\u{301}", "á"), ("A", "a")];
    pairs.iter().fold(text.trim_matches([' ', '\t']).to_owned(), |text, (from, to)| text.replace(from, to))
}

/// The standard library reads addresses, after the zeros that it refuses have been removed.
pub(crate) fn ip(text: &str) -> Result<IpAddr, Reason> {
    let (start, last) =
        text.rsplit_once(':').map_or((String::new(), text), |(start, last)| (format!("{start}:"), last));
    let shorter = |part: &str| match part.trim_start_matches('0') {
        "" if !part.is_empty() => "0".to_owned(),
        rest => rest.to_owned(),
    };
    let last = if last.contains('.') {
        last.split('.').map(shorter).collect::<Vec<_>>().join(".")
    } else {
        last.to_owned()
    };
    format!("{start}{last}").parse::<IpAddr>().map(|ip| ip.to_canonical()).map_err(|_| Reason::InvalidValue)
}

/// The address's digits in base two, with zeros after the prefix.
pub(crate) fn network(text: &str) -> Result<String, Reason> {
    let prefix = |bits: String, kept: usize| -> String {
        bits.chars().enumerate().map(|(at, bit)| if at < kept { bit } else { '0' }).collect()
    };
    Ok(match ip(text)? {
        IpAddr::V4(ip) => {
            let bits = u32::from_str_radix(&prefix(format!("{:032b}", ip.to_bits()), 20), 2).unwrap();
            format!("{}/20", std::net::Ipv4Addr::from_bits(bits))
        }
        IpAddr::V6(ip) => {
            let bits = u128::from_str_radix(&prefix(format!("{:0128b}", ip.to_bits()), 44), 2).unwrap();
            format!("{}/44", std::net::Ipv6Addr::from_bits(bits))
        }
    })
}

pub(crate) fn phone(text: &str) -> Result<String, Reason> {
    let digits = text.replace(['+', ' ', '/', '-'], "");
    let good = !digits.is_empty() && digits.chars().all(|digit| digit.is_ascii_digit());
    if good { Ok(digits) } else { Err(Reason::InvalidValue) }
}

/// One character at the front and two at the end.
pub(crate) fn partial(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    match &characters[..] {
        [first, hidden @ .., one, other] if !hidden.is_empty() => {
            format!("{first}{}{one}{other}", "#".repeat(hidden.len()))
        }
        short => "#".repeat(short.len()),
    }
}

/// For addresses of ASCII letters, dots and `@` only.
pub(crate) fn email(text: &str) -> Result<String, Reason> {
    let parts: Vec<&str> = text.split('@').collect();
    match parts[..] {
        [local, domain] if !local.is_empty() && domain.split('.').all(|label| !label.is_empty()) => {
            Ok(format!("{local}@{}", domain.to_lowercase()))
        }
        _ => Err(Reason::InvalidValue),
    }
}

pub(crate) fn domain(text: &str) -> Result<String, Reason> {
    email(text).map(|email| email.split('@').nth(1).unwrap().to_owned())
}

/// A number with no fraction or three digits of it; `scale` is its unit in milliseconds.
pub(crate) fn epoch(text: &str, scale: i128) -> Result<String, Reason> {
    if text.is_empty() {
        return Err(Reason::InvalidValue);
    }
    let thousandths: i128 =
        if text.contains('.') { text.replace('.', "").parse() } else { format!("{text}000").parse() }
            .map_err(|_| Reason::InvalidValue)?;
    let time = Timestamp::from_nanosecond(thousandths * scale * 1000).map_err(|_| Reason::OutOfRange)?;
    let text = time.to_string();
    if text.starts_with('-') || text.starts_with("0000") { Err(Reason::OutOfRange) } else { Ok(text) }
}

pub(crate) fn day(text: &str) -> Result<String, Reason> {
    let [day, month, year] = parts(text)?;
    if Date::new(i16::try_from(year).unwrap(), i8::try_from(month).unwrap(), i8::try_from(day).unwrap())
        .is_err()
    {
        return Err(Reason::InvalidValue);
    }
    if year == 0 { Err(Reason::OutOfRange) } else { Ok(format!("{year:04}-{month:02}-{day:02}")) }
}

/// Japan is nine hours ahead.
pub(crate) fn time(text: &str) -> Result<String, Reason> {
    let [year, month, day, hour, minute] = parts(text)?;
    let date =
        Date::new(i16::try_from(year).unwrap(), i8::try_from(month).unwrap(), i8::try_from(day).unwrap());
    let date = date.map_err(|_| Reason::InvalidValue)?;
    if hour > 23 || minute > 59 {
        return Err(Reason::InvalidValue);
    }
    let midnight = date.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
    let time =
        midnight + SignedDuration::from_mins(i64::from(hour * 60 + minute)) - SignedDuration::from_hours(9);
    Ok(time.to_string())
}

fn parts<const N: usize>(text: &str) -> Result<[i32; N], Reason> {
    let numbers: Result<Vec<i32>, _> = text.split(['.', '-', ' ', ':']).map(str::parse).collect();
    numbers.ok().and_then(|numbers| numbers.try_into().ok()).ok_or(Reason::InvalidValue)
}

pub(crate) fn boolean(text: &str) -> Result<bool, Reason> {
    match text.to_lowercase().as_str() {
        "ja" | "1" => Ok(true),
        "nein" | "0" => Ok(false),
        _ => Err(Reason::InvalidValue),
    }
}
