//! What looks like personal data by its value: for warnings, so a doubtful case counts as personal.

use std::net::IpAddr;

/// The kind of personal data that a text looks like; `None` for what looks like nothing of that kind.
pub(crate) fn personal_kind(text: &str) -> Option<&'static str> {
    let text = text.trim();
    if is_email(text) {
        Some("an e-mail address")
    } else if text.parse::<IpAddr>().is_ok_and(|address| !address.is_unspecified()) {
        Some("an IP address")
    } else if is_iban(text) {
        Some("an IBAN")
    } else if is_card_number(text) {
        Some("a card number")
    } else if is_phone_number(text) {
        Some("a phone number")
    } else if is_json_web_token(text) {
        Some("a JSON web token")
    } else {
        None
    }
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let good = |part: &str| !part.is_empty() && !part.contains(char::is_whitespace) && !part.contains('/');
    good(local) && good(domain) && domain.contains('.') && !domain.starts_with('.') && !domain.ends_with('.')
}

/// ISO 13616: two letters, two check digits and up to 30 letters and digits. As a number they are 1 modulo
/// 97, once the first four stand last and a letter counts as two digits.
fn is_iban(text: &str) -> bool {
    let compact: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
    let [a, b, c, d, rest @ ..] = compact.as_slice() else { return false };
    let is_head =
        a.is_ascii_alphabetic() && b.is_ascii_alphabetic() && c.is_ascii_digit() && d.is_ascii_digit();
    if !is_head || !(11..=30).contains(&rest.len()) || !rest.iter().all(u8::is_ascii_alphanumeric) {
        return false;
    }
    let remainder = rest.iter().chain([a, b, c, d]).fold(0_u32, |remainder, byte| {
        let value = char::from(*byte).to_digit(36).unwrap_or_default();
        let factor = if value > 9 { 100 } else { 10 };
        (remainder * factor + value) % 97
    });
    remainder == 1
}

/// 13 to 19 digits, perhaps in groups, whose last one is right by Luhn's formula (ISO/IEC 7812-1).
fn is_card_number(text: &str) -> bool {
    let digits: Option<Vec<u32>> =
        text.chars().filter(|sign| !matches!(sign, ' ' | '-')).map(|sign| sign.to_digit(10)).collect();
    let Some(digits) = digits.filter(|digits| (13..=19).contains(&digits.len())) else { return false };
    // Milliseconds and microseconds since 1970 have as many digits as some cards; no card begins with 1.
    if matches!(digits.first(), Some(0 | 1)) {
        return false;
    }
    let sum: u32 = digits.iter().rev().enumerate().map(|(place, digit)| luhn(place, *digit)).sum();
    sum.is_multiple_of(10)
}

/// Every second digit from the right counts twice, as the sum of the result's digits.
fn luhn(place: usize, digit: u32) -> u32 {
    match digit * 2 {
        _ if place.is_multiple_of(2) => digit,
        double @ 10.. => double - 9,
        double => double,
    }
}

/// A plus or two zeros and 8 to 15 digits (ITU-T E.164), or 9 to 15 digits in groups, as a person writes them
/// with spaces, hyphens or brackets.
fn is_phone_number(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let signs = |allowed: &str| text.chars().all(|sign| sign.is_ascii_digit() || allowed.contains(sign));
    let international = text.starts_with('+') || text.starts_with("00");
    if international {
        return (8..=17).contains(&digits) && signs("+ -()./");
    }
    let groups = text.split([' ', '-', '(', ')', '/', '.']).filter(|group| !group.is_empty()).count();
    (9..=15).contains(&digits) && groups >= 3 && signs(" -()/.") && !looks_like_a_date(text)
}

fn looks_like_a_date(text: &str) -> bool {
    let year = |part: &str| part.len() == 4 && (part.starts_with("19") || part.starts_with("20"));
    text.split(['-', '/', '.', ' ']).any(year)
}

/// RFC 7519, in the compact form: three parts in Base64, of which the first begins with `{"`.
fn is_json_web_token(text: &str) -> bool {
    text.starts_with("eyJ") && text.matches('.').count() == 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::personal_kind;

    #[test]
    fn known_examples_of_each_kind_are_found() {
        for (text, kind) in [
            ("ann@example.org", "an e-mail address"),
            ("ann.b+x@mail.example.co.uk", "an e-mail address"),
            ("203.0.113.7", "an IP address"),
            ("2001:db8::1", "an IP address"),
            ("GB82 WEST 1234 5698 7654 32", "an IBAN"),
            ("DE89370400440532013000", "an IBAN"),
            ("4111 1111 1111 1111", "a card number"),
            ("378282246310005", "a card number"),
            ("+49 30 901820", "a phone number"),
            ("(030) 901-8200-1", "a phone number"),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "a JSON web token"),
        ] {
            assert_eq!(personal_kind(text), Some(kind), "{text}");
        }
    }

    #[test]
    fn what_is_nobodys_is_not_found() {
        for text in [
            "",
            "ios",
            "de-DE",
            "23.0.1",
            "12.50",
            "2026-11-29",
            "2026-11-29T10:15:00Z",
            "1764411300123",
            "1234567890",
            "a@b",
            "@example.org",
            "https://x@example.org/y",
            "4111 1111 1111 1112",
            "DE89370400440532013001",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "0.0.0.0",
            "29/11/2026",
            "2026.11.29 10-15",
        ] {
            assert_eq!(personal_kind(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_judged(text in "\\PC{0,40}") {
            let kind = personal_kind(&text);
            prop_assert!(kind.is_none_or(|kind| !kind.is_empty()));
        }

        #[test]
        fn one_wrong_digit_is_no_card(place in 0usize..16, by in 1u8..10) {
            let mut digits = *b"4111111111111111";
            digits[place] = b'0' + (digits[place] - b'0' + by) % 10;
            let text = String::from_utf8(digits.to_vec()).unwrap();
            prop_assert_ne!(personal_kind(&text), Some("a card number"));
        }
    }
}
