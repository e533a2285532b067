//! `hmac-sha512`: a digest that only the holder of the key can compute.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha512;
use veilpost_runtime::BadSettings;

use super::hmac_keys::HmacKeys;

/// The options of `hmac-sha512`.
#[derive(Clone, Debug)]
pub(crate) struct HmacSha512 {
    /// Equal texts of one domain get equal digests; equal texts of two domains get different ones.
    pub(crate) domain: String,
    pub(crate) key: KeyName,
}

/// A key's id, and the place in the policy that names it.
#[derive(Clone, Debug)]
pub(crate) struct KeyName {
    pub(crate) id: String,
    pub(crate) place: String,
}

impl HmacSha512 {
    /// Takes its key from `keys`; fails when it is not there.
    pub(super) fn take_key(&self, keys: &HmacKeys) -> Result<KeyedDigest, BadSettings> {
        let KeyName { id, place } = &self.key;
        let key = keys.get(id).ok_or_else(|| {
            BadSettings(format!("{place}: there is no key {id:?} in VEILPOST_HMAC_KEYS or --hmac-keys-file"))
        })?;
        Ok(KeyedDigest::new(id, key, &self.domain))
    }
}

/// A keyed digest in one domain. The value for a text is
///
/// ```text
/// <key id> "." hex(HMAC-SHA-512(key, domain || 0x00 || text))
/// ```
///
/// (RFC 2104 with FIPS 180-4; domain and text in UTF-8; 128 lower-case digits), so whoever is entitled to the
/// key can compute it again: `printf 'DOMAIN\0TEXT' | openssl dgst -sha512 -mac HMAC -macopt hexkey:KEY`.
#[derive(Clone)]
pub(crate) struct KeyedDigest {
    /// The key's id and the dot.
    prefix: String,
    /// The state after key and domain, which every value starts from.
    state: Hmac<Sha512>,
}

impl KeyedDigest {
    pub(crate) fn new(key_id: &str, key: &SecretSlice<u8>, domain: &str) -> Self {
        let state = <Hmac<Sha512> as KeyInit>::new_from_slice(key.expose_secret());
        let mut state = state.expect("HMAC takes a key of any length");
        state.update(domain.as_bytes());
        state.update(&[0]);
        Self { prefix: format!("{key_id}."), state }
    }

    pub(crate) fn digest(&self, text: &str) -> String {
        let digest = self.state.clone().chain_update(text).finalize().into_bytes();
        let mut hex = const_hex::Buffer::<64>::new();
        let hex = hex.format(digest.as_ref());
        let mut value = String::with_capacity(self.prefix.len() + hex.len());
        value.push_str(&self.prefix);
        value.push_str(hex);
        value
    }
}

impl fmt::Debug for KeyedDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("KeyedDigest").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::SecretSlice;
    use sha2::{Digest, Sha512};

    use super::KeyedDigest;

    /// `printf 'ip\000203.0.113.7' | openssl dgst -sha512 -mac HMAC -macopt hexkey:0b0b…` (32 bytes).
    #[test]
    fn the_keyed_digest_is_what_openssl_computes() {
        let keyed = KeyedDigest::new("k1", &vec![0x0b; 32].into(), "ip");
        assert_eq!(keyed.digest("203.0.113.7"), OPENSSL);
    }

    const OPENSSL: &str = "k1.fae6ff50a6032f56301a180ff959e2e9f46cf76604be484d05c4ac9820756069\
         549914e0efe459f438cb682af6b140ea635b54457c5f5ef29fe20d5d3744a60c";

    /// RFC 2104 by hand: H(key ^ opad, H(key ^ ipad, text)), with the key padded to SHA-512's block of 128
    /// bytes.
    fn by_hand(key: &[u8], message: &[u8]) -> String {
        let key = if key.len() > 128 { Sha512::digest(key).to_vec() } else { key.to_vec() };
        let pad = |byte: u8| -> Vec<u8> {
            key.iter().copied().chain(std::iter::repeat(0)).take(128).map(|key| key ^ byte).collect()
        };
        let inner = Sha512::digest([pad(0x36), message.to_vec()].concat());
        const_hex::encode(Sha512::digest([pad(0x5c), inner.to_vec()].concat()))
    }

    /// <https://www.rfc-editor.org/rfc/rfc4231#section-4>: a short key, a shorter one, and one longer than a
    /// block.
    #[test]
    fn the_hmac_by_hand_is_the_one_of_rfc_4231() {
        let cases: [(&[u8], &str, &str); 3] = [
            (
                &[0x0b; 20],
                "Hi There",
                "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde\
                 daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
            ),
            (
                b"Jefe",
                "what do ya want for nothing?",
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
                 9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
            ),
            (
                &[0xaa; 131],
                "Test Using Larger Than Block-Size Key - Hash Key First",
                "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352\
                 6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
            ),
        ];
        for (key, message, expected) in cases {
            assert_eq!(by_hand(key, message.as_bytes()), expected, "{message}");
        }
    }

    proptest! {
        #[test]
        fn the_keyed_digest_is_hmac_over_domain_nul_and_text(
            key in prop::collection::vec(any::<u8>(), 32..200), domain in "[^\0]{1,20}", text: String,
        ) {
            let message = [domain.as_bytes(), &[0], text.as_bytes()].concat();
            let keyed = KeyedDigest::new("k1", &SecretSlice::from(key.clone()), &domain);
            prop_assert_eq!(keyed.digest(&text), format!("k1.{}", by_hand(&key, &message)));
            prop_assert_eq!(keyed.digest(&text), keyed.clone().digest(&text), "the state is not used up");
        }

        #[test]
        fn equal_texts_have_equal_digests_and_others_do_not(one: String, other: String) {
            let keyed = KeyedDigest::new("k1", &vec![7; 32].into(), "d");
            prop_assert_eq!(keyed.digest(&one) == keyed.digest(&other), one == other);
        }

        #[test]
        fn domains_and_keys_keep_equal_texts_apart(text: String, one in "[^\0]{1,9}", other in "[^\0]{1,9}") {
            let digest = |key: u8, domain: &str| KeyedDigest::new("k", &vec![key; 32].into(), domain).digest(&text);
            prop_assert_eq!(digest(1, &one) == digest(1, &other), one == other);
            prop_assert_ne!(digest(1, &one), digest(2, &one));
        }
    }

    #[test]
    fn debug_output_shows_the_id_only() {
        let keyed = KeyedDigest::new("k1", &vec![0x0b; 32].into(), "ip");
        assert_eq!(format!("{keyed:?}"), "KeyedDigest { prefix: \"k1.\", .. }");
    }
}
