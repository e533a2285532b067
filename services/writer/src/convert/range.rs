//! Ranges of dates or times: their bounds are judged here, as dates and times are; the rest by Postgres.

use veilpost_proto::masked::ValueRef;

use super::datetime;
use super::verdict::{Input, Verdict};
use crate::catalogue::DateTimeType;

pub(super) fn convert(given: ValueRef<'_>, bound_type: DateTimeType) -> Verdict {
    let ValueRef::Text(text) = given else {
        return Verdict::invalid("a number or boolean where a range is needed");
    };
    let Some(bounds) = bounds(text) else {
        return Verdict::invalid("not a range, such as [2026-11-01,2026-12-01)");
    };
    for bound in bounds.into_iter().map(str::trim).filter(|bound| !bound.is_empty()) {
        match datetime::judge(bound, bound_type) {
            Verdict::Accept(Input::AsGiven) => {}
            Verdict::Reject(rejection) => return Verdict::Reject(rejection),
            _ => return Verdict::invalid("a bound without the separators of ISO 8601"),
        }
    }
    Verdict::Unsure(Input::AsGiven)
}

/// The bounds of a range, or of all ranges of a multirange; None when the text has another form. Backslashes
/// are not needed in dates and times, and are refused.
fn bounds(text: &str) -> Option<Vec<&str>> {
    let text = text.trim();
    let Some(mut rest) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        let (bounds, rest) = range(text)?;
        return rest.is_empty().then(|| bounds.into());
    };
    let mut found = Vec::new();
    while !rest.trim().is_empty() {
        let (bounds, after) = range(rest.trim_start())?;
        found.extend(bounds);
        rest = match after.trim_start() {
            "" => "",
            more => more.strip_prefix(',').filter(|more| !more.trim().is_empty())?,
        };
    }
    Some(found)
}

/// The bounds of the range at the front, and what follows it.
fn range(text: &str) -> Option<([&str; 2], &str)> {
    if let Some((empty, rest)) = text.split_at_checked(5)
        && empty.eq_ignore_ascii_case("empty")
    {
        return Some((["", ""], rest));
    }
    let (lower, rest) = bound(text.strip_prefix(['[', '('])?)?;
    let (upper, rest) = bound(rest.strip_prefix(',')?)?;
    Some(([lower, upper], rest.strip_prefix([']', ')'])?))
}

/// A bound in quotes or without any.
fn bound(text: &str) -> Option<(&str, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted.split_once('"').filter(|(inner, _)| !inner.contains('\\'));
    }
    let (inner, rest) = text.split_at(text.find([',', ')', ']'])?);
    (!inner.contains(['"', '\\', '[', '(', '{', '}'])).then_some((inner, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_taken(text: &str, bound_type: DateTimeType) -> bool {
        matches!(convert(ValueRef::Text(text), bound_type), Verdict::Unsure(Input::AsGiven))
    }

    #[test]
    fn bounds_are_iso_8601_or_absent() {
        for text in [
            "[2026-11-01,2026-12-01)",
            "[\"2026-11-01\",]",
            "(,)",
            "empty",
            " [ 2026-11-01 , infinity ) ",
            "{[2026-11-01,2026-12-01), (2027-01-01,)}",
            "{}",
            "[2026-11-01T10:00:00Z,\"2026-11-02 10:00\"]",
        ] {
            assert!(is_taken(text, DateTimeType::Timestamp), "{text}");
        }
    }

    #[test]
    fn no_bound_is_guessed_and_no_offset_dropped() {
        for text in [
            "[01/11/2026,02/11/2026)",
            "[2026-11-01,01.12.2026)",
            "[\"01/11/2026\",)",
            "{[2026-11-01,),[1/2/2026,)}",
            "[today,)",
            "[2026-11-01T10:00:00+05:00,)",
            "[20261101,)",
            "[01\\/11/2026,)",
            "[\"01\\/11/2026\",)",
            "[01/\"11\"/2026,)",
            "2026-11-01",
            "[2026-11-01]",
            "[2026-11-01,2026-12-01",
            "{[2026-11-01,),}",
            "",
        ] {
            assert!(!is_taken(text, DateTimeType::Timestamp), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*", parts in "[\\[\\](){},\" 0-9é-]{0,30}") {
            is_taken(&text, DateTimeType::Date);
            is_taken(&parts, DateTimeType::Date);
        }
    }
}
