use std::os::unix::fs::PermissionsExt;

use base64::Engine as _;

use super::*;
use crate::tests::{PUBLIC_X25519, RSA_PRIVATE, private_keys, recipient};

#[test]
fn keys_are_written_as_they_are_read() {
    for private in private_keys() {
        let again = PrivateKey::parse(&private.expose_text()).unwrap();
        assert_eq!(*again.expose_text(), *private.expose_text());
        let public = private.public_key().unwrap();
        let text = public.to_string();
        let read = PublicKey::parse(&format!("# a comment\r\n\n{text}\n")).unwrap();
        assert_eq!(read.to_string(), text);
        assert_eq!(read.fingerprint(), again.public_key().unwrap().fingerprint());
        assert_eq!((read.suite(), read.recipient().as_str()), (private.suite(), "owner"));
    }
}

#[test]
fn every_suite_makes_new_keys() {
    for suite in Suite::ALL {
        let [one, other] = [(); 2].map(|()| PrivateKey::generate(suite, recipient("r")).unwrap());
        assert_eq!((one.suite(), one.recipient().as_str()), (suite, "r"));
        assert_ne!(one.public_key().unwrap().fingerprint(), other.public_key().unwrap().fingerprint());
    }
}

#[test]
fn a_key_of_the_wrong_half_is_told() {
    let [key, ..] = private_keys();
    assert_eq!(PublicKey::parse(&key.expose_text()).unwrap_err(), KeyError::Private);
    assert_eq!(PrivateKey::parse(&key.public_key().unwrap().to_string()).unwrap_err(), KeyError::Public);
}

#[test]
fn what_is_not_a_key_is_refused_with_one_clear_reason() {
    let good = PUBLIC_X25519;
    let key = good.rsplit(' ').next().unwrap();
    let refused = [
        (String::new(), KeyError::Missing),
        ("# only a comment\n\n".to_owned(), KeyError::Missing),
        ("ssh-ed25519 AAAA".to_owned(), KeyError::Missing),
        (format!(" {good}"), KeyError::Missing),
        (good.replace("key-1", "key-2"), KeyError::Missing),
        (format!("{good}\n{good}"), KeyError::Several),
        (format!("{good}\nx"), KeyError::Several),
        (format!("{good} x"), KeyError::Words),
        (good.replacen(' ', "  ", 1), KeyError::Words),
        (good.replace(&format!(" {key}"), ""), KeyError::Words),
        (good.replace("x25519", "x448"), KeyError::Suite(UnknownSuite)),
        (good.replace("owner", ".owner"), KeyError::Recipient(RecipientIdError)),
        (format!("{good}="), KeyError::Encoding),
        (format!("{good}AA"), KeyError::Encoding),
        (good.replace(key, key.get(..40).unwrap()), KeyError::Unusable),
        (good.replace("x25519", "x-wing"), KeyError::Unusable),
        (good.replace("x25519", "rsa-oaep-256"), KeyError::Unusable),
    ];
    for (text, error) in refused {
        let given = PublicKey::parse(&text).unwrap_err();
        assert_eq!(given, error, "{text:.80}");
        assert!(!given.to_string().contains(key));
    }
}

#[test]
fn a_point_that_gives_everybody_the_same_secret_is_refused() {
    for point in [[0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }] {
        let text =
            PUBLIC_X25519.rsplit_once(' ').unwrap().0.to_owned() + " " + &crate::base64url::encode(&point);
        assert_eq!(PublicKey::parse(&text).unwrap_err(), KeyError::Unusable);
    }
}

#[test]
fn an_ml_kem_key_with_numbers_that_are_too_large_is_refused() {
    let [key, ..] = private_keys();
    let text = key.public_key().unwrap().to_string();
    let (head, encoded) = text.rsplit_once(' ').unwrap();
    let mut bytes = crate::base64url::decode(encoded).unwrap();
    bytes[..3].fill(0xff);
    let text = format!("{head} {}", crate::base64url::encode(&bytes));
    assert_eq!(PublicKey::parse(&text).unwrap_err(), KeyError::Unusable);
}

#[test]
fn rsa_keys_are_read_from_pem_files() {
    let private = PrivateKey::from_rsa_pem(recipient("kms"), RSA_PRIVATE).unwrap();
    let public = private.public_key().unwrap();
    let line = public.to_string();
    let der = crate::base64url::decode(line.rsplit(' ').next().unwrap()).unwrap();
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n");
    assert_eq!(PublicKey::from_rsa_pem(recipient("kms"), &pem).unwrap().to_string(), line);
    for refused in ["", RSA_PRIVATE, &pem.replace("PUBLIC", "PRIVATE"), pem.get(..200).unwrap()] {
        assert_eq!(PublicKey::from_rsa_pem(recipient("kms"), refused).unwrap_err(), KeyError::NotRsa);
    }
    assert_eq!(PrivateKey::from_rsa_pem(recipient("kms"), &pem).unwrap_err(), KeyError::NotRsa);
}

#[test]
fn recipients_have_plain_ids() {
    for good in ["a", "recovery-2026", "A.b_c-9", &"x".repeat(64)] {
        assert_eq!(good.parse::<RecipientId>().unwrap().as_str(), good);
    }
    for refused in ["", "-a", ".a", "_a", "a b", "a/b", "é", "a\n", &"x".repeat(65)] {
        assert_eq!(refused.parse::<RecipientId>(), Err(RecipientIdError), "{refused:?}");
    }
}

#[test]
fn debug_shows_no_private_key() {
    for private in private_keys() {
        let text = private.expose_text();
        let secret = text.rsplit(' ').next().unwrap();
        let shown = format!("{private:?}");
        assert!(!shown.contains(secret) && !shown.contains("7, 7") && shown.contains("owner"), "{shown}");
    }
}

#[test]
fn a_private_key_is_written_for_its_owner_only_and_never_over_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("recovery.key");
    let [key, ..] = private_keys();
    write_private_key(&path, &key).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(*PrivateKey::parse(&text).unwrap().expose_text(), *key.expose_text());
    let fingerprint = key.public_key().unwrap().fingerprint().to_string();
    assert!(text.contains(&fingerprint), "{fingerprint}");
    let again = write_private_key(&path, &PrivateKey::generate(Suite::X25519, recipient("o")).unwrap());
    assert_eq!(again.unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}
