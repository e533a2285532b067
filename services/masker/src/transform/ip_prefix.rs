//! `ip-prefix`: the network that an IP address is in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::fault::Fault;
use crate::normalize::ip_address;

/// How many leading bits of an address are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IpPrefix {
    /// Up to 32.
    pub(crate) v4: u8,
    /// Up to 128.
    pub(crate) v6: u8,
}

impl IpPrefix {
    /// The network as `203.0.113.0/24`, which `inet`, `cidr` and text columns take.
    pub(super) fn of(self, text: &str) -> Result<String, Fault> {
        let (network, length) = match ip_address(text)? {
            IpAddr::V4(address) => {
                (IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask_v4(self.v4))), self.v4)
            }
            IpAddr::V6(address) => {
                (IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask_v6(self.v6))), self.v6)
            }
        };
        Ok(format!("{network}/{length}"))
    }
}

fn mask_v4(length: u8) -> u32 {
    u32::MAX.checked_shl(32_u32.saturating_sub(length.into())).unwrap_or(0)
}

fn mask_v6(length: u8) -> u128 {
    u128::MAX.checked_shl(128_u32.saturating_sub(length.into())).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_network_is_canonical() {
        let of = |v4, v6, text: &str| IpPrefix { v4, v6 }.of(text).ok();
        for (v4, v6, text, network) in [
            (24, 48, "203.0.113.7", "203.0.113.0/24"),
            (24, 48, "203.000.113.007", "203.0.113.0/24"),
            (24, 48, "::ffff:203.0.113.7", "203.0.113.0/24"),
            (20, 48, "203.0.113.7", "203.0.112.0/20"),
            (0, 0, "203.0.113.7", "0.0.0.0/0"),
            (32, 128, "203.0.113.7", "203.0.113.7/32"),
            (24, 48, "2001:DB8:1:2::3", "2001:db8:1::/48"),
            (24, 0, "2001:db8::1", "::/0"),
            (24, 128, "2001:db8::1", "2001:db8::1/128"),
        ] {
            assert_eq!(of(v4, v6, text).as_deref(), Some(network), "{text}");
        }
        assert_eq!(of(24, 48, "203.0.113.7:80"), None);
    }

    proptest! {
        #[test]
        fn the_bits_of_the_prefix_are_kept_and_no_others(bits: u32, v4 in 0_u8..=32, wide: u128, v6 in 0_u8..=128) {
            let prefix = IpPrefix { v4, v6 };
            let kept = |bits: u128, width: u8, length: u8| -> u128 {
                (0..length).map(|at| bits & (1 << (width - 1 - at))).sum()
            };
            let network = prefix.of(&Ipv4Addr::from_bits(bits).to_string()).unwrap();
            let expected = Ipv4Addr::from_bits(kept(bits.into(), 32, v4).try_into().unwrap());
            prop_assert_eq!(network, format!("{expected}/{v4}"));
            let wide = Ipv6Addr::from_bits(wide | 1 << 127);
            let expected = Ipv6Addr::from_bits(kept(wide.to_bits(), 128, v6));
            prop_assert_eq!(prefix.of(&wide.to_string()).unwrap(), format!("{expected}/{v6}"));
        }
    }
}
