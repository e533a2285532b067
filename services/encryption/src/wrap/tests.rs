use super::hpke::Randomness;
use super::*;
use crate::keys::PrivateKey;
use crate::tests::{data_key, new_wraps, private_keys, recipient, wraps};
use crate::{DataKey, UnwrapError};

/// The private key's line with another recipient.
fn renamed(key: &PrivateKey, to: &str) -> PrivateKey {
    PrivateKey::parse(&key.expose_text().replacen(" owner ", &format!(" {to} "), 1)).unwrap()
}

fn id_of(key: Result<DataKey, UnwrapError>) -> Result<KeyId, UnwrapError> {
    key.map(|key| key.id())
}

#[test]
fn every_suite_unwraps_what_it_wrapped() {
    for (key, wrap) in private_keys().iter().zip(wraps()) {
        let read = Wrap::from_bytes(&wrap.to_bytes()).unwrap();
        assert_eq!(read, wrap);
        assert_eq!((wrap.suite(), wrap.recipient()), (key.suite(), key.recipient()));
        let opened = key.unwrap_key(&read).unwrap();
        assert_eq!(opened.secret(), data_key(1).secret());
        assert_eq!((opened.id(), opened.commitment()), (wrap.key_id(), wrap.commitment()));
    }
}

#[test]
fn two_wraps_of_one_data_key_differ() {
    for (one, other) in wraps().into_iter().zip(new_wraps()) {
        assert_ne!(one.ciphertext, other.ciphertext);
    }
}

#[test]
fn a_wrap_that_is_given_to_another_data_key_is_refused() {
    let other = data_key(2);
    for (key, wrap) in private_keys().iter().zip(wraps()) {
        for (key_id, commitment) in [
            (other.id(), other.commitment()),
            (other.id(), wrap.commitment),
            (wrap.key_id, other.commitment()),
        ] {
            let swapped = Wrap { key_id, commitment, ..wrap.clone() };
            assert_eq!(id_of(key.unwrap_key(&swapped)), Err(UnwrapError::Refused), "{}", wrap.suite);
        }
    }
}

#[test]
fn a_wrap_of_another_recipient_is_told_by_name() {
    for (key, wrap) in private_keys().iter().zip(wraps()) {
        let other = renamed(key, "other");
        let told = UnwrapError::OtherRecipient { wrap: recipient("owner"), key: recipient("other") };
        assert_eq!(id_of(other.unwrap_key(&wrap)), Err(told));
        // The recipient is authenticated: renaming the wrap does not help.
        let renamed = Wrap { recipient: recipient("other"), ..wrap };
        assert_eq!(id_of(other.unwrap_key(&renamed)), Err(UnwrapError::Refused), "{}", key.suite());
    }
}

#[test]
fn another_private_key_with_the_same_id_is_refused() {
    for (wrap, suite) in wraps().into_iter().zip(Suite::ALL) {
        let other = PrivateKey::generate(suite, recipient("owner")).unwrap();
        assert_eq!(id_of(other.unwrap_key(&wrap)), Err(UnwrapError::Refused), "{suite}");
    }
}

#[test]
fn a_private_key_of_another_suite_is_told_by_name() {
    let [x_wing, x25519, _] = private_keys();
    let [_, wrap, _] = wraps();
    let told = UnwrapError::OtherSuite { wrap: Suite::X25519, key: Suite::XWing };
    assert_eq!(id_of(x_wing.unwrap_key(&wrap)), Err(told));
    assert!(x25519.unwrap_key(&wrap).is_ok());
    let told = UnwrapError::OtherSuite { wrap: Suite::X25519, key: Suite::RsaOaep256 };
    assert_eq!(id_of(wrap.data_key_from_rsa(&[0; 64])), Err(told));
}

#[test]
fn no_single_bit_of_a_wrap_can_be_changed() {
    for (key, wrap) in private_keys().iter().zip(wraps()) {
        let bytes = wrap.to_bytes();
        // Every bit of what is public and, as unwrapping takes a while, some of the ciphertext. X-Wing
        // without optimisation takes longest, and what is public goes the same way as for X25519.
        let public = (bytes.len() - wrap.ciphertext.len()) * 8;
        let step = if wrap.suite == Suite::XWing { 7 } else { 1 };
        for bit in (0..public).step_by(step).chain((public..bytes.len() * 8).step_by(step * 9)) {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let opened = Wrap::from_bytes(&changed).ok().and_then(|wrap| key.unwrap_key(&wrap).ok());
            assert!(opened.is_none(), "{}, bit {bit}", wrap.suite);
        }
    }
}

#[test]
fn a_wrap_that_is_truncated_or_longer_is_not_read() {
    for wrap in wraps() {
        let bytes = wrap.to_bytes();
        assert!(bytes.len() <= MAX_WRAP_LEN);
        let ends = if wrap.suite == Suite::RsaOaep256 {
            bytes.len() - wrap.ciphertext.len() + 256
        } else {
            bytes.len()
        };
        for end in 0..ends {
            assert!(Wrap::from_bytes(&bytes[..end]).is_err(), "{} {end}", wrap.suite);
        }
        if wrap.suite != Suite::RsaOaep256 {
            assert_eq!(Wrap::from_bytes(&[bytes.as_slice(), &[0]].concat()), Err(WrapBytesError::Length));
        }
    }
}

#[test]
fn unknown_wraps_are_told_apart() {
    let [wrap, ..] = wraps();
    let changed = |at: usize, to: u8| {
        let mut bytes = wrap.to_bytes();
        bytes[at] = to;
        Wrap::from_bytes(&bytes).unwrap_err()
    };
    assert_eq!(Wrap::from_bytes(&[]), Err(WrapBytesError::UnknownFormat));
    assert_eq!(changed(0, 2), WrapBytesError::UnknownFormat);
    assert_eq!(changed(1, 0), WrapBytesError::UnknownSuite);
    assert_eq!(changed(1, 4), WrapBytesError::UnknownSuite);
    assert_eq!(changed(2, 0), WrapBytesError::Recipient);
    assert_eq!(changed(3, b' '), WrapBytesError::Recipient);
    assert_eq!(changed(3, 0xff), WrapBytesError::Recipient);
}

#[test]
fn a_wrap_that_holds_another_data_key_than_it_says_is_told() {
    let other = data_key(2);
    let [x_wing, x25519, rsa] = private_keys();
    for key in [&x_wing, &x25519, &rsa] {
        // Whoever wraps may lie about what is inside.
        let lying =
            wrap_with(&key.public_key().unwrap(), data_key(1).secret(), &other, Randomness::draw().unwrap());
        let lying = lying.unwrap();
        assert_eq!(id_of(key.unwrap_key(&lying)), Err(UnwrapError::OtherKey), "{}", key.suite());
    }
}

#[test]
fn what_a_key_service_decrypts_is_checked_in_the_same_way() {
    let [.., rsa] = private_keys();
    let [.., wrap] = wraps();
    let crate::keys::Secret::Rsa(secret) = &rsa.secret else { panic!("not an RSA key") };
    let plaintext = rsa::open(secret, wrap.ciphertext()).unwrap();
    assert_eq!(plaintext.len(), 64);
    assert_eq!(id_of(wrap.data_key_from_rsa(&plaintext)), Ok(wrap.key_id()));
    for wrong in [&plaintext[..32], &plaintext[..63], &[], &[plaintext.as_slice(), &[0]].concat()] {
        assert_eq!(id_of(wrap.data_key_from_rsa(wrong)), Err(UnwrapError::Refused));
    }
    let mut changed = plaintext.to_vec();
    changed[63] ^= 1;
    assert_eq!(id_of(wrap.data_key_from_rsa(&changed)), Err(UnwrapError::Refused));
    changed[63] ^= 1;
    changed[0] ^= 1;
    assert_eq!(id_of(wrap.data_key_from_rsa(&changed)), Err(UnwrapError::OtherKey));
}

#[test]
fn the_owner_of_two_keys_moves_a_data_key_from_one_to_the_other() {
    let [x_wing, x25519, _] = private_keys();
    let [wrap, ..] = wraps();
    let moved = x25519.public_key().unwrap().wrap(&x_wing.unwrap_key(&wrap).unwrap()).unwrap();
    assert_eq!(id_of(x25519.unwrap_key(&moved)), Ok(wrap.key_id()));
}
