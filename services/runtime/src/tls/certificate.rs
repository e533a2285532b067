//! The names in a certificate and its period of validity.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Characters of a peer's names in a log line: until its CA is verified, a peer may put there what it likes.
const MAX_SHOWN: usize = 200;

/// The parts of a certificate that matter here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    /// DNS names and URIs among the subject's alternative names.
    callers: Vec<String>,
    shown: String,
    not_before: SystemTime,
    not_after: SystemTime,
}

impl Certificate {
    /// `None` when `der` is not a certificate.
    pub(super) fn parse(der: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let names = parsed.subject_alternative_name().ok().flatten();
        let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
        let shown: Vec<_> = names.iter().filter_map(show).collect();
        let shown = if shown.is_empty() { parsed.subject().to_string() } else { shown.join(", ") };
        let validity = parsed.validity();
        Some(Self {
            callers: names.iter().filter_map(caller).map(str::to_owned).collect(),
            shown: printable(&shown),
            not_before: time(validity.not_before.timestamp()),
            not_after: time(validity.not_after.timestamp()),
        })
    }

    /// Whether one of its names is exactly `caller`. URIs are compared as they are, DNS names without regard
    /// to case.
    pub(super) fn is(&self, caller: &str) -> bool {
        self.callers
            .iter()
            .any(|name| if name.contains("://") { name == caller } else { name.eq_ignore_ascii_case(caller) })
    }

    /// How long it is still valid; `None` when it has expired.
    pub(super) fn remaining(&self, now: SystemTime) -> Option<Duration> {
        self.not_after.duration_since(now).ok().filter(|left| !left.is_zero())
    }

    pub(super) fn has_begun(&self, now: SystemTime) -> bool {
        self.not_before <= now
    }

    /// The end of its validity, in seconds since 1970.
    pub(super) fn expires(&self) -> f64 {
        self.not_after.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
    }
}

/// The alternative names, or the subject where there are none.
impl fmt::Display for Certificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.shown)
    }
}

fn caller<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) => Some(name),
        _ => None,
    }
}

fn show(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(format!("DNS:{name}")),
        GeneralName::URI(name) => Some(format!("URI:{name}")),
        GeneralName::IPAddress(octets) => Some(format!("IP:{}", address(octets)?)),
        _ => None,
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
    }
}

/// A stranger's text, escaped and shortened for a log line.
pub(super) fn printable(text: &str) -> String {
    let mut characters = text.chars().flat_map(char::escape_debug);
    let mut line: String = characters.by_ref().take(MAX_SHOWN).collect();
    if characters.next().is_some() {
        line.push('…');
    }
    line
}

fn time(timestamp: i64) -> SystemTime {
    u64::try_from(timestamp).map_or(UNIX_EPOCH, |seconds| UNIX_EPOCH + Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn certificate(edit: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let mut parameters = CertificateParams::default();
        edit(&mut parameters);
        let made = parameters.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Certificate::parse(made.der()).unwrap()
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().unwrap())
    }

    #[test]
    fn a_caller_is_named_by_a_whole_dns_name_or_uri() {
        let reader = certificate(|parameters| {
            parameters.distinguished_name.push(DnType::CommonName, "veilpost-writer");
            parameters.subject_alt_names = vec![
                dns("veilpost-reader"),
                SanType::URI("spiffe://here/reader".try_into().unwrap()),
                SanType::Rfc822Name("veilpost-masker".try_into().unwrap()),
            ];
        });
        assert!(
            reader.is("veilpost-reader") && reader.is("Veilpost-Reader") && reader.is("spiffe://here/reader")
        );
        for not in [
            "veilpost",
            "veilpost-reader.evil",
            "spiffe://here/READER",
            "veilpost-writer",
            "veilpost-masker",
            "",
        ] {
            assert!(!reader.is(not), "{not}");
        }
        assert_eq!(reader.to_string(), "DNS:veilpost-reader, URI:spiffe://here/reader");
    }

    #[test]
    fn a_wildcard_names_no_caller() {
        let wild = certificate(|parameters| parameters.subject_alt_names = vec![dns("*.example.com")]);
        assert!(!wild.is("veilpost-reader.example.com"));
    }

    #[test]
    fn without_alternative_names_the_subject_is_shown() {
        let named =
            certificate(|parameters| parameters.distinguished_name.push(DnType::CommonName, "somebody"));
        assert!(named.to_string().contains("CN=somebody"), "{named}");
    }

    #[test]
    fn names_cannot_break_out_of_a_log_line() {
        let long = certificate(|parameters| {
            let name = "evil\n\u{1b}[2J".to_owned() + &"x".repeat(10_000);
            parameters.distinguished_name.push(DnType::CommonName, name);
        });
        let shown = long.to_string();
        assert!(shown.chars().all(|character| !character.is_control()), "{shown}");
        assert!(shown.chars().count() <= MAX_SHOWN + 1);
    }

    #[test]
    fn a_certificate_is_valid_from_its_beginning_until_its_end() {
        let certificate = certificate(|parameters| {
            parameters.not_before = rcgen::date_time_ymd(2030, 1, 1);
            parameters.not_after = rcgen::date_time_ymd(2030, 1, 2);
        });
        let begin = time(1_893_456_000);
        assert!(certificate.has_begun(begin) && !certificate.has_begun(begin - Duration::from_secs(1)));
        assert_eq!(certificate.remaining(begin), Some(Duration::from_hours(24)));
        assert_eq!(certificate.remaining(begin + Duration::from_hours(24)), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(cut in 0usize..600, index in 0usize..600, byte: u8) {
            let made = CertificateParams::new(vec!["a".to_owned()]).unwrap();
            let mut der = made.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
            if let Some(place) = der.get_mut(index) {
                *place = byte;
            }
            der.truncate(cut.max(1));
            let _either = Certificate::parse(&der);
        }
    }
}
