//! Two rules that `serde_json` does not check in the parts of a body that it skips: nesting and surrogates.

/// The deepest nesting that counts as JSON here; the outermost object or array is level 1.
const MAX_DEPTH: usize = 127;

/// Whether `json` nests no deeper than [`MAX_DEPTH`] and has no lone surrogate in any string or key. The
/// grammar is not checked: for text that is not JSON, the result can be either.
pub(crate) fn is_strict(json: &str) -> bool {
    is_plain(json.as_bytes()) || each_part_is_strict(json.as_bytes())
}

/// Whether there is nothing to judge, as in most bodies: no escape in any string, and too few brackets for
/// deep nesting.
fn is_plain(json: &[u8]) -> bool {
    let brackets = memchr::memchr2_iter(b'{', b'[', json).take(MAX_DEPTH + 1).count();
    brackets <= MAX_DEPTH && memchr::memchr(b'\\', json).is_none()
}

fn each_part_is_strict(json: &[u8]) -> bool {
    let mut rest = json;
    let mut depth = 0_usize;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => match after_string(rest) {
                Some(after) => rest = after,
                None => return false,
            },
            _ => {}
        }
        if depth > MAX_DEPTH {
            return false;
        }
    }
    true
}

/// What follows the string whose opening quote has just been read; `None` if it has a lone surrogate.
fn after_string(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        match rest {
            [b'"', tail @ ..] => return Some(tail),
            [b'\\', b'u', tail @ ..] => rest = after_unicode_escape(tail)?,
            [b'\\', _, tail @ ..] | [_, tail @ ..] => rest = tail,
            [] => return None,
        }
    }
}

/// What follows `\uXXXX`, or the pair of them that is needed for one character beyond U+FFFF.
fn after_unicode_escape(rest: &[u8]) -> Option<&[u8]> {
    let (unit, tail) = code_unit(rest)?;
    match (unit, tail) {
        (0xD800..=0xDBFF, [b'\\', b'u', tail @ ..]) => {
            let (low, tail) = code_unit(tail)?;
            (0xDC00..=0xDFFF).contains(&low).then_some(tail)
        }
        (0xD800..=0xDFFF, _) => None,
        _ => Some(tail),
    }
}

fn code_unit(rest: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, tail) = rest.split_first_chunk::<4>()?;
    let digits = std::str::from_utf8(digits).ok()?;
    Some((u16::from_str_radix(digits, 16).ok()?, tail))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::is_strict;

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn nesting_of_127_is_the_deepest() {
        assert!(is_strict(&nested(127)));
        assert!(!is_strict(&nested(128)));
        assert!(is_strict(&format!("[{},{}]", nested(126), nested(126))), "siblings do not add up");
    }

    #[test]
    fn the_limit_is_the_one_of_serde_json() {
        for levels in [126, 127, 128, 129] {
            let parsed = serde_json::from_str::<serde_json::Value>(&nested(levels));
            assert_eq!(is_strict(&nested(levels)), parsed.is_ok(), "{levels} levels");
        }
    }

    #[test]
    fn brackets_in_strings_do_not_nest() {
        let brackets = "[{".repeat(200);
        assert!(is_strict(&format!(r#"{{"a":"{brackets}\"{brackets}\\"}}"#)));
    }

    #[test]
    fn surrogates_come_in_pairs() {
        for good in [r#""\ud83d\ude00""#, r#""\uD7FF\uE000""#, r#""\\ud800""#, r#""\"\u0041""#] {
            assert!(is_strict(good), "{good}");
        }
        for bad in [
            r#""\ud800""#,
            r#""\udc00""#,
            r#""\ud800\ud800""#,
            r#""\ud800x""#,
            r#""\ud800\n""#,
            r#""\ud83d\ude00\ude00""#,
            r#"{"\udfff":1}"#,
            r#"[1,["x",{"a":"\uDBFF"}]]"#,
        ] {
            assert!(!is_strict(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn strings_with_any_escapes_are_judged_as_serde_json_does(units in prop::collection::vec(any::<u16>(), 0..6)) {
            // Most of the draws are moved into the surrogates, where the rules are.
            let escapes: Vec<_> = units.iter().map(|unit| format!("\\u{:04x}", 0xD000 | (unit & 0x0FFF))).collect();
            let json = format!("\"{}\"", escapes.concat());
            prop_assert_eq!(is_strict(&json), serde_json::from_str::<String>(&json).is_ok());
        }

        #[test]
        fn no_text_makes_it_panic(text in r#"[\[\]{}"\\ud8cf\PC]{0,64}"#) {
            let _ = is_strict(&text);
        }
    }
}
