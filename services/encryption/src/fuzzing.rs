//! What must hold for any input, as functions for the fuzz targets in `tests/fuzz` and for the tests below.

use zeroize::Zeroizing;

use crate::value::{self, Opened};
use crate::{Context, DataKey, Opener, Padding, PrivateKey, PublicKey, SealedValue, Wrap};

/// A text is an encrypted value in its only spelling, or it is refused. What was not sealed does not open.
pub fn value(text: &str) {
    let mut opener = Opener::default();
    let parsed = SealedValue::parse(text);
    if let Ok(value) = &parsed {
        assert_eq!(value.to_string(), text);
    }
    // Under the id that the text names no key is found, as nobody can choose a key for an id.
    opener.add(data_key());
    let context = Context::new("fuzzing").expect("the context is well-formed");
    assert!(opener.context(&context).open(text, None, None).is_err());
}

/// A plaintext is read as what it was made from, or it is refused.
pub fn plaintext(bytes: &[u8]) {
    let Ok(opened) = Opened::read(bytes.to_vec()) else { return };
    let multiples = [0, bytes.len()];
    let written = multiples.into_iter().filter_map(|multiple| {
        let padding = Padding::to_multiple_of(multiple).ok()?;
        let mut out = Vec::new();
        value::push(&mut out, opened.as_clear(), padding);
        Some(out)
    });
    assert!(bytes.len() > value::MAX_PADDING || written.into_iter().any(|written| written == bytes));
}

/// Bytes are a wrap in its only spelling, or they are refused. What was not wrapped is not unwrapped.
pub fn wrap(bytes: &[u8]) {
    let Ok(wrap) = Wrap::from_bytes(bytes) else { return };
    assert_eq!(wrap.to_bytes(), bytes);
    assert!(bytes.len() <= crate::MAX_WRAP_LEN);
    let suite = wrap.suite();
    if suite != crate::Suite::RsaOaep256 {
        let seed = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
        let text = format!("veilpost-private-key-1 {suite} {} {seed}", wrap.recipient());
        let key = PrivateKey::parse(&text).expect("the key is well-formed");
        assert!(key.unwrap_key(&wrap).is_err());
    }
}

/// A text is a key, which is written as it was read, or it is refused.
pub fn key(text: &str) {
    if let Ok(key) = PublicKey::parse(text) {
        assert!(text.lines().any(|line| line == key.to_string()));
    }
    if let Ok(key) = PrivateKey::parse(text) {
        assert!(text.lines().any(|line| line == *key.expose_text()));
    }
}

fn data_key() -> DataKey {
    DataKey::from_secret(Zeroizing::new([7; 32])).expect("the library derives keys")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::{PUBLIC_X25519, public_keys, wraps};

    proptest! {
        #[test]
        fn any_text_is_a_value_or_refused(
            text in r"\PC{0,60}|ve1e?\.[A-Za-z0-9_-]{21}[AQgw]\.[A-Za-z0-9_-]{36,90}",
        ) {
            value(&text);
        }

        #[test]
        fn any_plaintext_is_read_or_refused(
            first in 0_u8..=5, padded in any::<bool>(), rest in "[a-c0-9]{0,5}\u{80}?\0{0,5}", marker in any::<bool>(),
        ) {
            let mut bytes = vec![first | if padded { 0x80 } else { 0 }];
            bytes.extend_from_slice(rest.as_bytes());
            if marker {
                bytes.extend_from_slice(&[0x80, 0, 0]);
            }
            plaintext(&bytes);
        }

        #[test]
        fn a_changed_wrap_is_refused(at in 0_usize..2000, bit in 0_u32..8, cut in 0_usize..3) {
            for made in wraps() {
                let mut bytes = made.to_bytes();
                let at = at % bytes.len();
                bytes[at] ^= 1 << bit;
                bytes.truncate(bytes.len() - cut);
                wrap(&bytes);
            }
        }

        #[test]
        fn a_changed_key_is_another_key_or_refused(at in 0_usize..2000, to in "[ -~\n]") {
            for mut text in public_keys() {
                let at = at % text.len();
                text.replace_range(at..=at, &to);
                key(&text);
            }
        }

        #[test]
        fn any_text_is_a_key_or_refused(text in r"\PC{0,60}|veilpost-(public|private)-key-1 x25519 [a-z.]{1,9} [A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]") {
            key(&text);
        }
    }

    #[test]
    fn whole_keys_are_read() {
        key(PUBLIC_X25519);
        assert!(PublicKey::parse(PUBLIC_X25519).is_ok());
    }
}
