//! Whole values: sealed, moved, changed, opened. And what tests of other modules share.

use std::sync::LazyLock;

use proptest::prelude::*;
use zeroize::Zeroizing;

use crate::*;

/// The public key of the private key 07 07 … (32 bytes).
pub(crate) const PUBLIC_X25519: &str =
    "veilpost-public-key-1 x25519 owner E75P6uryBMf9M1j8nAByGIHRdCeBKCJ-xnTzf3_pe20";

/// An RSA key of 2048 bits for tests only.
pub(crate) const RSA_PRIVATE: &str = include_str!("../tests/vectors/rsa-2048-for-tests.pem");

pub(crate) fn recipient(id: &str) -> RecipientId {
    id.parse().unwrap()
}

/// A private key of each suite. They are the same in each run.
pub(crate) fn private_keys() -> [PrivateKey; 3] {
    let seed = base64url::encode(&[7; 32]);
    let of_seed =
        |suite: Suite| PrivateKey::parse(&format!("veilpost-private-key-1 {suite} owner {seed}")).unwrap();
    let rsa = PrivateKey::from_rsa_pem(recipient("owner"), RSA_PRIVATE).unwrap();
    [of_seed(Suite::XWing), of_seed(Suite::X25519), rsa]
}

/// The lines of their public keys.
pub(crate) fn public_keys() -> [String; 3] {
    static MADE: LazyLock<[String; 3]> =
        LazyLock::new(|| private_keys().map(|key| key.public_key().unwrap().to_string()));
    MADE.clone()
}

pub(crate) fn data_key(byte: u8) -> DataKey {
    DataKey::from_secret(Zeroizing::new([byte; 32])).unwrap()
}

/// A wrap of each suite, made once.
pub(crate) fn wraps() -> [Wrap; 3] {
    static MADE: LazyLock<[Wrap; 3]> = LazyLock::new(new_wraps);
    MADE.clone()
}

pub(crate) fn new_wraps() -> [Wrap; 3] {
    private_keys().map(|key| key.public_key().unwrap().wrap(&data_key(1)).unwrap())
}

fn subject(byte: u8) -> SubjectSecret {
    SubjectSecret::from_bytes(Zeroizing::new([byte; 32]))
}

fn context(text: &str) -> Context {
    Context::new(text).unwrap()
}

/// A sealing key, and an opener that has its data key.
fn pair() -> (SealingKey, Opener) {
    let key = SealingKey::generate(Limits::default()).unwrap();
    let mut opener = Opener::default();
    opener.add(key.data_key().clone());
    (key, opener)
}

/// Texts that are special to something: empty, NUL, padding's own bytes, more than one byte a character.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("\0".to_owned()),
        Just("\u{80}\0\0".to_owned()),
        r"\PC{0,50}",
        "[\0\u{80}a]{0,20}",
        (1_usize..5000).prop_map(|length| "é".repeat(length)),
    ]
}

fn number() -> impl Strategy<Value = String> {
    r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,5})?"
}

proptest! {
    #[test]
    fn every_value_opens_to_itself(
        text in texts(), number in number(), truth in any::<bool>(),
        bound in proptest::option::of(texts()), pad in 0_usize..70, erasable in any::<bool>(),
    ) {
        let (key, opener) = pair();
        let (context, padding) = (context("t/c"), Padding::to_multiple_of(pad).unwrap());
        let subject = subject(3);
        let sealer = if erasable {
            key.erasable_sealer(&context, padding, &subject).unwrap()
        } else {
            key.sealer(&context, padding).unwrap()
        };
        let mut opening = opener.context(&context);
        for value in [Clear::Text(&text), Clear::Json(&text), Clear::Number(&number), Clear::Boolean(truth)] {
            let sealed = sealer.seal(value, bound.as_deref()).unwrap();
            let opened = opening.open(&sealed, bound.as_deref(), erasable.then_some(&subject)).unwrap();
            prop_assert!(opened.as_clear() == value);
        }
    }

    #[test]
    fn a_value_opens_only_with_the_text_that_it_was_bound_to(
        one in proptest::option::of(texts()), other in proptest::option::of(texts()),
    ) {
        let (key, opener) = pair();
        let sealed = key.sealer(&context("c"), Padding::NONE).unwrap().seal(Clear::Text("v"), one.as_deref()).unwrap();
        let opened = opener.context(&context("c")).open(&sealed, other.as_deref(), None);
        prop_assert_eq!(opened.is_ok(), one == other);
        prop_assert!(opened.is_ok() || opened == Err(OpenError::Refused));
    }

    #[test]
    fn a_truncated_value_does_not_open(text in texts(), kept in any::<prop::sample::Index>()) {
        let (key, opener) = pair();
        let sealed = key.sealer(&context("c"), Padding::NONE).unwrap().seal(Clear::Text(&text), None).unwrap();
        let kept = sealed.get(..kept.index(sealed.len())).unwrap();
        prop_assert!(opener.context(&context("c")).open(kept, None, None).is_err());
    }
}

#[test]
fn no_single_bit_of_a_value_can_be_changed() {
    let (key, opener) = pair();
    let context = context("c");
    let padding = Padding::to_multiple_of(16).unwrap();
    let sealed =
        key.sealer(&context, padding).unwrap().seal(Clear::Text("203.0.113.7"), Some("row")).unwrap();
    let value = SealedValue::parse(&sealed).unwrap();
    let mut opening = opener.context(&context);
    for bit in 0..value.payload.len() * 8 {
        let mut changed = value.clone();
        changed.payload[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            opening.open(&changed.to_string(), Some("row"), None),
            Err(OpenError::Refused),
            "bit {bit}"
        );
    }
    for at in 0..sealed.len() {
        for bit in 0..7 {
            let mut changed = sealed.clone().into_bytes();
            changed[at] ^= 1 << bit;
            let changed = String::from_utf8(changed).unwrap();
            assert!(opening.open(&changed, Some("row"), None).is_err(), "byte {at}, bit {bit}");
        }
    }
    assert!(opening.open(&sealed, Some("row"), None).is_ok());
}

#[test]
fn a_value_does_not_open_in_another_context() {
    let (key, opener) = pair();
    let sealed =
        key.sealer(&context("users/ip"), Padding::NONE).unwrap().seal(Clear::Text("v"), None).unwrap();
    for other in ["users/email", "users/i", "users/ip ", "orders/ip"] {
        assert_eq!(
            opener.context(&context(other)).open(&sealed, None, None),
            Err(OpenError::Refused),
            "{other}"
        );
    }
}

#[test]
fn a_value_does_not_open_under_another_data_key() {
    let (key, mut opener) = pair();
    let other = SealingKey::generate(Limits::default()).unwrap();
    let sealed = key.sealer(&context("c"), Padding::NONE).unwrap().seal(Clear::Text("v"), None).unwrap();
    let value = SealedValue::parse(&sealed).unwrap();
    let moved = SealedValue { key: other.data_key().id(), ..value };
    let unknown = OpenError::UnknownKey(other.data_key().id());
    assert_eq!(opener.context(&context("c")).open(&moved.to_string(), None, None), Err(unknown));
    opener.add(other.data_key().clone());
    assert_eq!(opener.context(&context("c")).open(&moved.to_string(), None, None), Err(OpenError::Refused));
}

#[test]
fn an_erasable_value_needs_the_secret_of_its_person() {
    let (key, opener) = pair();
    let context = context("c");
    let sealed = key
        .erasable_sealer(&context, Padding::NONE, &subject(1))
        .unwrap()
        .seal(Clear::Text("v"), None)
        .unwrap();
    assert!(sealed.starts_with("ve1e."));
    let mut opening = opener.context(&context);
    assert!(opening.open(&sealed, None, Some(&subject(1))).unwrap().as_clear() == Clear::Text("v"));
    assert_eq!(opening.open(&sealed, None, Some(&subject(2))), Err(OpenError::Refused));
    assert_eq!(opening.open(&sealed, None, None), Err(OpenError::SubjectNeeded));
    // The form is authenticated: without its mark, the value is not one of the data key alone, nor the
    // reverse.
    assert_eq!(opening.open(&sealed.replacen("ve1e", "ve1", 1), None, None), Err(OpenError::Refused));
    let plain = key.sealer(&context, Padding::NONE).unwrap().seal(Clear::Text("v"), None).unwrap();
    assert_eq!(
        opening.open(&plain.replacen("ve1", "ve1e", 1), None, Some(&subject(1))),
        Err(OpenError::Refused)
    );
    assert!(opening.open(&plain, None, Some(&subject(1))).is_ok());
}

#[test]
fn what_is_authentic_but_not_of_the_format_is_told_apart() {
    let (key, opener) = pair();
    let context = context("c");
    let value_key = value::ValueKey::derive(key.data_key(), &context, None).unwrap();
    let open = |plaintext: &[u8]| {
        let mut in_out = plaintext.to_vec();
        let tag = value_key.seal([0; 12], None, &mut in_out).unwrap();
        let payload = [&[0; 12], in_out.as_slice(), &tag].concat();
        let value = SealedValue { form: value::Form::Plain, key: key.data_key().id(), payload };
        opener.context(&context).open(&value.to_string(), None, None)
    };
    assert!(open(b"\x01v").is_ok());
    assert_eq!(open(b"\x09v"), Err(OpenError::UnknownKind));
    assert_eq!(open(b"\x81v"), Err(OpenError::Malformed));
    assert_eq!(open(b"\x01\xff"), Err(OpenError::Malformed));
}

#[test]
fn equal_values_look_different_unless_the_nonce_repeats() {
    let (key, _) = pair();
    let sealer = key.sealer(&context("c"), Padding::NONE).unwrap();
    let seal = |nonce: u8, text| sealer.seal_with_nonce([nonce; 12], Clear::Text(text), None).unwrap();
    assert_ne!(sealer.seal(Clear::Text("v"), None), sealer.seal(Clear::Text("v"), None));
    assert_ne!(seal(1, "v"), seal(2, "v"));
    // What a clone of a process' memory may show: equality, and nothing else.
    assert_eq!(seal(1, "v"), seal(1, "v"));
    let (one, other) = (seal(1, "aaaaaaaa"), seal(1, "aaaaaaab"));
    let payload = |text: &str| SealedValue::parse(text).unwrap().payload;
    let equal =
        payload(&one).iter().zip(payload(&other)).skip(12).filter(|(one, other)| **one == *other).count();
    assert!(equal < 8, "of 25 bytes of ciphertext and tag {equal} are equal");
}

#[test]
fn errors_contain_no_values() {
    let (key, opener) = pair();
    let sealed = key.sealer(&context("c"), Padding::NONE).unwrap().seal(Clear::Text("v"), None).unwrap();
    let mut opening = opener.context(&context("c"));
    for text in ["secret-clear-text", "ve1.secret-clear-text", &format!("{sealed}secret-clear-text"), &sealed]
    {
        let error = opening.open(text, Some("secret-clear-text"), None).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }
}
