//! IP addresses: one spelling for each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::fault::Fault;

const NOT_AN_ADDRESS: Fault = Fault::invalid("not an IP address");

/// The address in the spelling of RFC 5952, section 4; an IPv4-mapped IPv6 address as the IPv4 address.
pub(super) fn normalized(text: &str) -> Result<String, Fault> {
    Ok(match address(text)? {
        IpAddr::V4(address) => ipv4_text(address),
        IpAddr::V6(address) => ipv6_text(address),
    })
}

/// Reads an address without port, zone or prefix. An IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2) is
/// the IPv4 address. Leading zeros of IPv4 mean nothing: `010` is ten, as people write it, not eight.
pub(crate) fn address(text: &str) -> Result<IpAddr, Fault> {
    ipv4(text).map(IpAddr::V4).or_else(|| ipv6(text)).ok_or(NOT_AN_ADDRESS)
}

fn ipv6(text: &str) -> Option<IpAddr> {
    // The standard library refuses leading zeros in the IPv4 part.
    let address: Ipv6Addr = match text.rsplit_once(':') {
        Some((start, last)) if start.eq_ignore_ascii_case("::ffff") && last.contains('.') => {
            return ipv4(last).map(IpAddr::V4);
        }
        Some((start, last)) if last.contains('.') => format!("{start}:{}", ipv4(last)?).parse().ok()?,
        _ => text.parse().ok()?,
    };
    Some(address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4))
}

/// Four octets of one to three decimal digits.
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let (mut bits, mut octet, mut digits, mut dots) = (0_u32, 0_u32, 0, 0);
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' if digits < 3 => {
                octet = octet * 10 + u32::from(byte - b'0');
                digits += 1;
            }
            b'.' if digits > 0 && octet <= 255 && dots < 3 => {
                bits = bits << 8 | octet;
                (octet, digits, dots) = (0, 0, dots + 1);
            }
            _ => return None,
        }
    }
    (digits > 0 && octet <= 255 && dots == 3).then(|| Ipv4Addr::from_bits(bits << 8 | octet))
}

/// What `to_string` gives, in a fraction of the time.
fn ipv4_text(address: Ipv4Addr) -> String {
    let mut text = String::with_capacity(15);
    for (at, octet) in address.octets().into_iter().enumerate() {
        if at > 0 {
            text.push('.');
        }
        push_octet(&mut text, octet);
    }
    text
}

/// What `to_string` gives for an address that is not mapped, in a fraction of the time: hexadecimal digits
/// without leading zeros, and `::` for the first of the longest runs of at least two groups that are zero.
fn ipv6_text(address: Ipv6Addr) -> String {
    let groups = address.segments();
    let (start, length) = longest_zeros(&groups);
    let mut text = String::with_capacity(39);
    for (at, group) in groups.into_iter().enumerate() {
        if (start..start + length).contains(&at) {
            if at == start {
                text.push_str("::");
            }
            continue;
        }
        if at > 0 && at != start + length {
            text.push(':');
        }
        push_group(&mut text, group);
    }
    text
}

/// Where the first of the longest runs of zeros begins, and its length; no run where that would be one.
fn longest_zeros(groups: &[u16; 8]) -> (usize, usize) {
    let (mut longest, mut run) = ((8, 0), 0);
    for (at, group) in groups.iter().enumerate() {
        run = if *group == 0 { run + 1 } else { 0 };
        if run > longest.1 && run > 1 {
            longest = (at + 1 - run, run);
        }
    }
    longest
}

fn push_octet(text: &mut String, octet: u8) {
    if octet >= 100 {
        text.push(char::from(b'0' + octet / 100));
    }
    if octet >= 10 {
        text.push(char::from(b'0' + octet / 10 % 10));
    }
    text.push(char::from(b'0' + octet % 10));
}

fn push_group(text: &mut String, group: u16) {
    let [high, low] = group.to_be_bytes();
    let digits = [high >> 4, high & 0xf, low >> 4, low & 0xf];
    let zeros = (group.leading_zeros() / 4).min(3);
    for (at, digit) in (0..).zip(digits) {
        if at >= zeros {
            text.push(char::from(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Option<String> {
        normalized(text).ok()
    }

    /// <https://www.rfc-editor.org/rfc/rfc5952#section-2> lists spellings of an address, section 4 the rules.
    #[test]
    fn the_spellings_of_rfc_5952_are_one() {
        let spellings: [(&str, &[&str]); 8] = [
            (
                "2001:db8::1:0:0:1",
                &[
                    "2001:db8:0:0:1:0:0:1",
                    "2001:0db8:0:0:1:0:0:1",
                    "2001:db8::1:0:0:1",
                    "2001:db8::0:1:0:0:1",
                    "2001:0db8::1:0:0:1",
                    "2001:db8:0:0:1::1",
                    "2001:db8:0000:0:1::1",
                    "2001:DB8:0:0:1::1",
                ],
            ),
            (
                "2001:db8:aaaa:bbbb:cccc:dddd:eeee:1",
                &[
                    "2001:db8:aaaa:bbbb:cccc:dddd:eeee:0001",
                    "2001:db8:aaaa:bbbb:cccc:dddd:eeee:001",
                    "2001:db8:aaaa:bbbb:cccc:dddd:eeee:01",
                    "2001:db8:aaaa:bbbb:cccc:dddd:eeee:1",
                    "2001:db8:AAAA:bbbb:cccc:DDDD:eeee:1",
                ],
            ),
            ("2001:db8::1", &["2001:0db8::0001", "2001:db8:0:0:0::1", "2001:db8:0:0::1", "2001:db8:0::1"]),
            ("2001:db8::2:1", &["2001:db8:0:0:0:0:2:1", "2001:db8::2:1"]),
            ("2001:db8:0:1:1:1:1:1", &["2001:db8::1:1:1:1:1"]),
            ("2001:0:0:1::1", &["2001:0:0:1:0:0:0:1"]),
            ("2001:db8:aaaa:bbbb:cccc:dddd:eeee:aaaa", &["2001:db8:aaaa:bbbb:cccc:dddd:eeee:AaAa"]),
            ("::", &["0:0:0:0:0:0:0:0", "::", "0::0"]),
        ];
        for (one, spellings) in spellings {
            for spelling in spellings {
                assert_eq!(of(spelling).as_deref(), Some(one), "{spelling}");
            }
        }
    }

    #[test]
    fn an_ipv4_address_is_one_with_leading_zeros_and_mapped_into_ipv6() {
        for spelling in [
            "203.0.113.7",
            "203.000.113.007",
            "::ffff:203.0.113.7",
            "::FFFF:CB00:7107",
            "::ffff:203.000.113.007",
        ] {
            assert_eq!(of(spelling).as_deref(), Some("203.0.113.7"), "{spelling}");
        }
        assert_eq!(of("010.8.0.1").as_deref(), Some("10.8.0.1"), "decimal, not octal");
        assert_eq!(of("::203.0.113.7").as_deref(), Some("::cb00:7107"), "compatible is not mapped");
    }

    #[test]
    fn nothing_else_is_an_address() {
        for text in [
            "",
            " ",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.256",
            "1.2.3.0004",
            "1.2.3.",
            ".1.2.3",
            "1.2.3.4:80",
            "1.2.3.4/32",
            "0x7f.1.1.1",
            "127.1",
            "2130706433",
            "+1.2.3.4",
            "1.2.3.4 ",
            "１.2.3.4",
            "fe80::1%eth0",
            "[::1]",
            "[::1]:80",
            "::1/128",
            ":::",
            "1::2::3",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "12345::",
            "::1.2.3.256",
            "1.2.3.4::",
            "::g",
            "localhost",
        ] {
            assert_eq!(of(text), None, "{text:?}");
        }
    }

    /// Ways to write the same 128 bits.
    fn spellings(address: Ipv6Addr) -> [String; 4] {
        let groups = address.segments();
        let joined =
            |groups: &[u16], one: fn(&u16) -> String| groups.iter().map(one).collect::<Vec<_>>().join(":");
        let [.., a, b, c, d] = address.octets();
        [
            address.to_string(),
            joined(&groups, |group| format!("{group:04X}")),
            joined(&groups, |group| format!("{group:x}")),
            format!("{}:{a:03}.{b:03}.{c}.{d}", joined(&groups[..6], |group| format!("{group:x}"))),
        ]
    }

    fn some_address() -> impl Strategy<Value = Ipv6Addr> {
        let group = prop_oneof![Just(0_u16), Just(0xffff), any::<u16>()];
        let mapped = any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).to_ipv6_mapped());
        prop_oneof![prop::array::uniform8(group).prop_map(Ipv6Addr::from), mapped]
    }

    proptest! {
        #[test]
        fn spellings_are_equal_exactly_when_the_addresses_are(one in some_address(), other in some_address()) {
            for (first, second) in spellings(one).iter().zip(spellings(other).iter().rev()) {
                let (first, second) = (normalized(first).unwrap(), normalized(second).unwrap());
                prop_assert_eq!(first == second, one == other);
            }
            let of_one: Vec<_> = spellings(one).iter().map(|text| normalized(text).unwrap()).collect();
            prop_assert!(of_one.iter().all(|text| *text == of_one[0]));
            prop_assert_eq!(&of_one[0], &one.to_canonical().to_string());
            let address: IpAddr = of_one[0].parse().unwrap();
            let mapped = one.to_ipv4_mapped().map(IpAddr::V4);
            prop_assert_eq!(address, mapped.unwrap_or(IpAddr::V6(one)));
        }

        #[test]
        fn any_text_is_refused_or_an_address_of_the_standard_library(text in r"[0-9a-fA-F:.%/\[\] ]{0,24}") {
            if let Some(normal) = of(&text) {
                let address: IpAddr = normal.parse().unwrap();
                prop_assert_eq!(address.to_string(), normal);
            }
            if let Ok(address) = text.parse::<IpAddr>() {
                prop_assert_eq!(of(&text), Some(address.to_canonical().to_string()));
            }
        }
    }
}
