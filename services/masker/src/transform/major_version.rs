//! `major-version`: the integer before the first dot.

/// The text before the first dot as an integer in its shortest form; `None` when it is not an integer. An
/// integer may have a sign and any number of digits.
pub(super) fn major_version(text: &str) -> Option<String> {
    let major = text.split_once('.').map_or(text, |(major, _)| major);
    let (sign, digits) = match major.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", major.strip_prefix('+').unwrap_or(major)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match digits.trim_start_matches('0') {
        "" => Some("0".to_owned()),
        digits => Some(format!("{sign}{digits}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::major_version;

    #[test]
    fn the_text_before_the_first_dot_is_the_integer() {
        for (text, major) in [
            ("23.0.1", "23"),
            ("23", "23"),
            ("23.", "23"),
            ("007.1", "7"),
            ("+5.1", "5"),
            ("-5", "-5"),
            ("-0.9", "0"),
            ("0", "0"),
            ("99999999999999999999.1", "99999999999999999999"),
        ] {
            assert_eq!(major_version(text).as_deref(), Some(major), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_integer_is_none() {
        for text in [
            "", ".", ".5", "v23", "23a.0", " 23", "23 .0", "+", "-", "+-1", "1E5", "true", "２３", "1_0",
            "\0",
        ] {
            assert_eq!(major_version(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn an_integer_keeps_its_value_whatever_follows_the_dot(major: i64, rest in "\\PC*") {
            prop_assert_eq!(major_version(&format!("{major}.{rest}")), Some(major.to_string()));
        }
    }
}
