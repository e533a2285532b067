//! E-mail addresses: one spelling for each domain.

use std::borrow::Cow;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

use crate::fault::Fault;

const NOT_AN_ADDRESS: Fault = Fault::invalid("not an e-mail address");

/// The longest local part (RFC 5321, section 4.5.3.1.1), in bytes.
const MAX_LOCAL_BYTES: usize = 64;

/// The longest domain that is looked at, in bytes. In ASCII it may have 253, in Unicode some more.
const MAX_DOMAIN_BYTES: usize = 1024;

/// The address with its domain in ASCII and lower case (UTS #46, non-transitional, with STD3 rules and the
/// lengths of DNS). The local part stays as it is: only its own server knows what is equal there.
pub(crate) fn normalized(text: &str) -> Result<String, Fault> {
    let (local, domain) = split(text)?;
    Ok(format!("{local}@{domain}"))
}

/// The domain of the address, as [`normalized`] writes it.
pub(crate) fn domain(text: &str) -> Result<String, Fault> {
    split(text).map(|(_, domain)| domain.into_owned())
}

fn split(text: &str) -> Result<(&str, Cow<'_, str>), Fault> {
    let (local, domain) = text.rsplit_once('@').ok_or(NOT_AN_ADDRESS)?;
    if domain.len() > MAX_DOMAIN_BYTES {
        return Err(NOT_AN_ADDRESS);
    }
    let domain = Uts46::new().to_ascii(
        domain.as_bytes(),
        AsciiDenyList::STD3,
        Hyphens::CheckFirstLast,
        DnsLength::Verify,
    );
    match domain {
        Ok(domain) if is_local_part(local) => Ok((local, domain)),
        _ => Err(NOT_AN_ADDRESS),
    }
}

/// Whether `local` can stand before the `@`: RFC 5322's atoms and dots, or a quoted string, with Unicode as
/// in RFC 6531. Dots may be anywhere, because addresses of large providers have them anywhere.
fn is_local_part(local: &str) -> bool {
    let fits = (1..=MAX_LOCAL_BYTES).contains(&local.len());
    let quoted = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    fits && match quoted {
        Some(inner) => is_quoted(inner),
        None => local.chars().all(|character| is_plain(character) && !r#"()<>[]:;@\,""#.contains(character)),
    }
}

/// Whether a quoted string can hold `inner`: quotation marks and backslashes only after a backslash.
fn is_quoted(inner: &str) -> bool {
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        let escaped =
            if character == '\\' { characters.next() } else { Some(character).filter(|it| *it != '"') };
        if !escaped.is_some_and(|escaped| escaped == ' ' || is_plain(escaped)) {
            return false;
        }
    }
    true
}

fn is_plain(character: char) -> bool {
    !character.is_whitespace() && !character.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain_of(domain: &str) -> Option<String> {
        normalized(&format!("a@{domain}")).ok().and_then(|text| text.strip_prefix("a@").map(str::to_owned))
    }

    /// <https://www.rfc-editor.org/rfc/rfc3492#section-7.1>: (I), (L), (O), (P), (Q) and (R), in lower case.
    #[test]
    fn domains_are_in_the_punycode_of_rfc_3492() {
        for (unicode, ascii) in [
            ("почемужеонинеговорятпорусски", "xn--b1abfaaepdrnnbgefbadotcwatmq2g4l"),
            ("3年B組金八先生", "xn--3b-ww4c5e180e575a65lsy2b"),
            ("ひとつ屋根の下2", "xn--2-u9tlzr9756bt3uc0v"),
            ("MajiでKoiする5秒前", "xn--majikoi5-783gue6qz075azm5e"),
            ("パフィーdeルンバ", "xn--de-jg4avhby1noc0d"),
            ("そのスピードで", "xn--d9juau41awczczp"),
        ] {
            assert_eq!(
                domain_of(&format!("{unicode}.example")),
                Some(format!("{ascii}.example")),
                "{unicode}"
            );
        }
    }

    /// <https://www.unicode.org/reports/tr46/>: the tables of sections 2.3 and 4, non-transitional, and dots.
    #[test]
    fn domains_are_mapped_as_in_uts_46() {
        for (domain, ascii) in [
            ("faß.de", "xn--fa-hia.de"),
            ("βόλος.com", "xn--nxasmm1c.com"),
            ("ශ්‍රී.com", "xn--10cl1a0b660p.com"),
            ("نامه‌ای.com", "xn--mgba3gch31f060k.com"),
            ("Bloß.de", "xn--blo-7ka.de"),
            ("ÖBB.at", "xn--bb-eka.at"),
            ("O\u{308}bb.at", "xn--bb-eka.at"),
            ("日本語。ＪＰ", "xn--wgv71a119e.jp"),
            ("EXAMPLE.org", "example.org"),
            ("XN--FA-hia.DE", "xn--fa-hia.de"),
        ] {
            assert_eq!(domain_of(domain).as_deref(), Some(ascii), "{domain}");
        }
    }

    #[test]
    fn the_local_part_is_left_alone() {
        for local in [
            "Ann",
            "ann+tag",
            "a.b..c.",
            "o'hara",
            "\u{c4}nne",
            "\"a b\"",
            "\"a@b\"",
            r#""a\"b""#,
            "!#$%&*/=?^_`{|}~-",
        ] {
            assert_eq!(
                normalized(&format!("{local}@EXAMPLE.org")),
                Ok(format!("{local}@example.org")),
                "{local}"
            );
        }
        assert!(normalized(&format!("{}@example.org", "x".repeat(64))).is_ok());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.org", "x".repeat(65));
        let label = format!("a@{}.org", "x".repeat(64));
        for text in [
            "",
            "@",
            "ann",
            "ann@",
            "@example.org",
            "ann@ex ample.org",
            " ann@example.org",
            "ann@example.org ",
            "Ann <ann@example.org>",
            "a,b@example.org",
            "a@b@example.org",
            "ann@-example.org",
            "ann@example-.org",
            "ann@exa_mple.org",
            "ann@example..org",
            "ann@example.org.",
            "ann@[192.0.2.1]",
            "ann@xn--a.org",
            "ann@xn--\u{e4}.org",
            "\"a\"b\"@example.org",
            "\"a\\\"@example.org",
            "mailto:ann@example.org",
            "a\0b@example.org",
            &long,
            &label,
        ] {
            assert_eq!(normalized(text), Err(NOT_AN_ADDRESS), "{text:?}");
        }
    }
}
