//! Names and texts as SQL takes them.

/// A name as an identifier in SQL.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as a literal, whatever `standard_conforming_strings` is.
pub(crate) fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_name_never_leaves_its_quotes(name in "[a\"; ]{1,20}") {
            let quoted = quoted(&name);
            let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap();
            prop_assert_eq!(inner.replace("\"\"", "").matches('"').count(), 0);
            prop_assert_eq!(inner.replace("\"\"", "\""), name);
        }

        #[test]
        fn a_text_never_leaves_its_literal(text in "[a\\\\'; ]{1,20}") {
            let literal = literal(&text);
            let escapes = literal.starts_with('E');
            let inner = literal.trim_start_matches('E').strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
            let inner = inner.unwrap();
            let plain = if escapes { inner.replace("\\\\", "\\") } else { inner.to_owned() };
            prop_assert_eq!(escapes, text.contains('\\'));
            prop_assert_eq!(plain.replace("''", "'"), text);
        }
    }
}
