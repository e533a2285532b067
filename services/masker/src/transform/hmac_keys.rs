//! The keys of `hmac-sha512`, by id.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::{ExposeSecret, SecretSlice, SecretString};
use sha2::{Digest, Sha512};
use veilpost_runtime::BadSettings;

/// Half of a SHA-512 digest. RFC 2104, section 3, discourages shorter keys, because they weaken the digest.
const MIN_KEY_BYTES: usize = 32;

/// The keys of `hmac-sha512`. They are wiped from memory when dropped, and never shown.
#[derive(Debug, Default)]
pub struct HmacKeys(BTreeMap<String, SecretSlice<u8>>);

impl HmacKeys {
    /// Reads lines of `id=hex`; blank lines and lines that begin with `#` are skipped. `origin` says where
    /// the lines are from.
    ///
    /// # Errors
    /// When a line is wrong or an id is there twice. The error names `origin` and the line or the id, never a
    /// key.
    pub fn parse(lines: &SecretString, origin: &str) -> Result<Self, BadSettings> {
        let bad = |what: &str| BadSettings(format!("{origin}: {what}"));
        let mut keys = BTreeMap::new();
        for (number, line) in lines.expose_secret().lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (id, key) = line_of(line).map_err(|what| bad(&format!("line {}: {what}", number + 1)))?;
            if keys.insert(id.to_owned(), key).is_some() {
                return Err(bad(&format!("key {id} is there twice")));
            }
        }
        Ok(Self(keys))
    }

    /// Keys with these ids and with bytes that anybody can compute.
    pub(crate) fn of_trial<'a>(ids: impl Iterator<Item = &'a str>) -> Self {
        let key = |id: &str| Sha512::digest(format!("a key for trials: {id}")).to_vec().into();
        Self(ids.map(|id| (id.to_owned(), key(id))).collect())
    }

    /// Tells these keys from others, without holding them.
    pub(crate) fn digests(&self) -> KeyDigests {
        let digest = |key: &SecretSlice<u8>| Sha512::digest(key.expose_secret()).into();
        KeyDigests(self.0.iter().map(|(id, key)| (id.clone(), digest(key))).collect())
    }

    pub(crate) fn get(&self, id: &str) -> Option<&SecretSlice<u8>> {
        self.0.get(id)
    }
}

/// Digests of keys, by the keys' ids. A key has 32 random bytes or more, so its digest tells nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct KeyDigests(BTreeMap<String, [u8; 64]>);

impl KeyDigests {
    /// Checks that no id has another key in `others` than it has here.
    ///
    /// # Errors
    /// Names the first id that has. Digests made with the two keys would look alike and never be equal.
    pub(crate) fn check(&self, others: &Self) -> Result<(), BadSettings> {
        let differs = |id: &str, digest: &[u8; 64]| self.0.get(id).is_some_and(|known| known != digest);
        match others.0.iter().find(|(id, digest)| differs(id, digest)) {
            Some((id, _)) => Err(BadSettings(format!(
                "key {id} has other bytes than before, so equal values would get unequal digests; give the new key \
                 an id of its own"
            ))),
            None => Ok(()),
        }
    }

    /// Adds the keys of `others`.
    pub(crate) fn add(&mut self, others: &Self) {
        self.0.extend(others.0.clone());
    }
}

impl fmt::Debug for KeyDigests {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// Whether `id` can name a key: 1 to 32 of `A-Z a-z 0-9 _ -`, so that it has no dot and no equals sign.
pub(crate) fn is_key_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=32).contains(&id.len()) && id.bytes().all(allowed)
}

fn line_of(line: &str) -> Result<(&str, SecretSlice<u8>), String> {
    let (id, hex) = line.split_once('=').ok_or("not of the form id=hex")?;
    let id = id.trim();
    if !is_key_id(id) {
        // The error does not show the id: what is before the sign may be part of a key.
        return Err("the id before the equals sign is not 1 to 32 of A-Z a-z 0-9 _ -".to_owned());
    }
    let key =
        const_hex::decode(hex.trim()).map_err(|_| format!("key {id} is not pairs of hexadecimal digits"))?;
    let key = SecretSlice::from(key);
    match key.expose_secret().len() {
        length if length < MIN_KEY_BYTES => {
            Err(format!("key {id} has {length} bytes; it needs {MIN_KEY_BYTES}, from `openssl rand -hex 32`"))
        }
        _ => Ok((id, key)),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::HmacKeys;

    fn parse(lines: &str) -> Result<HmacKeys, String> {
        HmacKeys::parse(&lines.into(), "VEILPOST_HMAC_KEYS").map_err(|error| error.to_string())
    }

    #[test]
    fn lines_of_id_and_hex_are_read_between_comments_and_blank_lines() {
        let key = "0aF1".repeat(16);
        let keys = parse(&format!("# of 2026\n\n k1 = {key} \r\nk-2_x={key}00\n")).unwrap();
        assert_eq!(keys.get("k1").unwrap().expose_secret(), [0x0a, 0xf1].repeat(16));
        assert_eq!(keys.get("k-2_x").unwrap().expose_secret().len(), 33);
        assert!(keys.get("k3").is_none());
    }

    #[test]
    fn a_bad_line_is_named_without_any_of_its_key() {
        let key = "c0ffee42".repeat(8);
        let short = "c0ffee42".repeat(7);
        let cases = [
            (format!("k1={short}"), "k1 has 28 bytes"),
            (format!("k1={key}z"), "key k1 is not pairs"),
            (format!("\n{key}"), "line 2"),
            (format!("{key}="), "line 1"),
            (format!("k.1={key}"), "line 1"),
            (format!("k1={key}\nk1={key}"), "k1 is there twice"),
        ];
        for (lines, what) in cases {
            let refusal = parse(&lines).unwrap_err();
            assert!(refusal.contains(what), "{refusal}");
            assert!(!refusal.contains("c0ffee"), "{refusal}");
        }
    }

    #[test]
    fn an_id_never_changes_its_key_and_others_may_come_and_go() {
        let digests = |lines: &str| parse(lines).unwrap().digests();
        let (one, other) = ("0aF1".repeat(16), "0aF2".repeat(16));
        let mut known = digests(&format!("k1={one}"));
        let with_another = digests(&format!("k1={one}\nk2={other}"));
        assert!(known.check(&with_another).is_ok());
        known.add(&with_another);
        let only_the_other = digests(&format!("k2={other}"));
        assert!(known.check(&only_the_other).is_ok());
        known.add(&only_the_other);
        let refusal = known.check(&digests(&format!("k1={other}"))).unwrap_err().to_string();
        assert!(refusal.contains("key k1") && !refusal.contains("0a"), "{refusal}");
        assert!(!format!("{known:?}").contains("0a"));
    }

    #[test]
    fn keys_have_no_debug_output() {
        let keys = parse(&format!("k1={}", "c0ffee42".repeat(8))).unwrap();
        assert!(!format!("{keys:?}").contains("192"), "192 is 0xc0");
    }
}
