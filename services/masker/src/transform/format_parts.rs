//! The parts of a `strptime` format: whether two of them could contradict each other.
//!
//! Where a text says the same thing twice, jiff takes one of the two and does not compare. No part of a value
//! may be ignored, so such formats are refused when the policy is read.

/// What a part of a format says. The day of the week may stand beside everything: jiff compares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Everything,
    Year,
    Month,
    Day,
    DayOfYear,
    Week,
    Hour,
    TwelveHour,
    HalfOfDay,
    Minute,
    Second,
    Fraction,
    Offset,
    Zone,
}

/// Pairs that are two ways to say one thing.
const RIVALS: &[(Says, Says)] = &[
    (Says::DayOfYear, Says::Month),
    (Says::DayOfYear, Says::Day),
    (Says::Week, Says::Month),
    (Says::Week, Says::Day),
    (Says::Week, Says::DayOfYear),
    (Says::Hour, Says::TwelveHour),
    (Says::Hour, Says::HalfOfDay),
];

/// Checks that no two parts of `format` say the same thing. The error names them.
pub(super) fn check(format: &str) -> Result<(), String> {
    let mut said: Vec<(char, Says)> = Vec::new();
    for letter in letters(format) {
        for &says in meaning(letter) {
            let rival = said.iter().find(|(_, before)| is_rival(*before, says));
            if let Some((before, _)) = rival {
                return Err(format!(
                    "says one thing twice, with %{before} and with %{letter}; keep one of them"
                ));
            }
        }
        said.extend(meaning(letter).iter().map(|says| (letter, *says)));
    }
    Ok(())
}

fn is_rival(one: Says, other: Says) -> bool {
    let either = |(first, second): &(Says, Says)| {
        (*first, *second) == (one, other) || (*second, *first) == (one, other)
    };
    one == other || one == Says::Everything || other == Says::Everything || RIVALS.iter().any(either)
}

/// The letters of the parts, without flags, widths, colons and dots.
fn letters(format: &str) -> impl Iterator<Item = char> {
    let mut characters = format.chars();
    std::iter::from_fn(move || {
        characters.find(|character| *character == '%')?;
        characters.find(|character| character.is_alphabetic() || *character == '%')
    })
}

fn meaning(letter: char) -> &'static [Says] {
    match letter {
        's' => &[Says::Everything],
        'Y' | 'y' | 'C' | 'G' | 'g' => &[Says::Year],
        'm' | 'B' | 'b' | 'h' => &[Says::Month],
        'd' | 'e' => &[Says::Day],
        'F' | 'D' => &[Says::Year, Says::Month, Says::Day],
        'j' => &[Says::DayOfYear],
        'U' | 'V' | 'W' => &[Says::Week],
        'H' | 'k' => &[Says::Hour],
        'I' | 'l' => &[Says::TwelveHour],
        'P' | 'p' => &[Says::HalfOfDay],
        'M' => &[Says::Minute],
        'S' => &[Says::Second],
        'R' => &[Says::Hour, Says::Minute],
        'T' => &[Says::Hour, Says::Minute, Says::Second],
        'f' | 'N' => &[Says::Fraction],
        'z' => &[Says::Offset],
        'Q' => &[Says::Zone],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn formats_that_say_one_thing_twice_are_refused() {
        for format in [
            "%F %d",
            "%Y %y",
            "%Y-%m-%d %j",
            "%j %b",
            "%s %z",
            "%F %s",
            "%s%.f",
            "%G-W%V-%u %Y",
            "%F %T %I %p",
            "%F %H %p",
            "%T %M",
            "%-d %_d",
            "%T%.3f%f",
            "%F %T %:z %z",
            "%V %U",
        ] {
            assert!(check(format).is_err(), "{format}");
        }
        assert_eq!(
            check("%F %e").unwrap_err(),
            "says one thing twice, with %F and with %e; keep one of them"
        );
    }

    #[test]
    fn other_formats_pass() {
        for format in [
            "",
            "%%d %d",
            "%s",
            "%a, %d %b %Y %T %z",
            "%F %T%.f%:z",
            "%G-W%V-%u",
            "%Y-%j",
            "%F %I:%M:%S %p",
            "%F %T %:z %Q",
            "100%",
            "%",
        ] {
            assert_eq!(check(format), Ok(()), "{format}");
        }
    }
}
