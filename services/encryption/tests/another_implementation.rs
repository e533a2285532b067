//! Values and wraps that another program has made, in Python: `tests/interop` in the repository.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::error::Error;

use serde_json::Value;
use veilpost_encryption::{
    Clear, Context, DataKey, OpenError, Opener, PrivateKey, PublicKey, SubjectSecret, Wrap,
};
use zeroize::Zeroizing;

type Checked<T = ()> = Result<T, Box<dyn Error>>;

/// What `tests/interop/run` has just made, or what was checked in.
fn file() -> Value {
    let checked_in = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/interop/vectors/python.json");
    let path = std::env::var_os("VEILPOST_INTEROP_FILE").unwrap_or_else(|| checked_in.into());
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap()
}

fn base64url(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn private_keys(file: &Value) -> Vec<PrivateKey> {
    let recipients = file["recipients"].as_array().unwrap();
    recipients.iter().map(|recipient| PrivateKey::parse(text(recipient, "private_key")).unwrap()).collect()
}

/// The data key of an entry, unwrapped with each private key.
fn data_keys(file: &Value, entry: &Value) -> Vec<DataKey> {
    let unwrap = |key: PrivateKey| {
        let wrap = base64url(text(&entry["wraps"], key.suite().name()));
        key.unwrap_key(&Wrap::from_bytes(&wrap).unwrap()).unwrap()
    };
    private_keys(file).into_iter().map(unwrap).collect()
}

fn subject(value: &Value) -> Option<SubjectSecret> {
    let hex = value["subject"].as_str()?;
    let bytes: [u8; 32] = const_hex::decode(hex).unwrap().try_into().unwrap();
    Some(SubjectSecret::from_bytes(Zeroizing::new(bytes)))
}

fn clear(value: &Value) -> Clear<'_> {
    let given = text(value, "value");
    match text(value, "kind") {
        "text" => Clear::Text(given),
        "number" => Clear::Number(given),
        "boolean" => Clear::Boolean(given == "true"),
        "json" => Clear::Json(given),
        kind => panic!("no such kind: {kind}"),
    }
}

#[test]
fn its_keys_are_the_same_in_all_their_forms() -> Checked {
    let file = file();
    for (private, recipient) in private_keys(&file).iter().zip(file["recipients"].as_array().unwrap()) {
        let public = private.public_key()?;
        assert_eq!(public.to_string(), text(recipient, "public_key"));
        assert_eq!(public.fingerprint().to_string(), text(recipient, "fingerprint"));
        assert_eq!(PublicKey::parse(text(recipient, "public_key"))?.fingerprint(), public.fingerprint());
    }
    Ok(())
}

#[test]
fn its_wraps_hold_the_data_key_that_they_name() {
    let file = file();
    for entry in file["data_keys"].as_array().unwrap() {
        let unwrapped = data_keys(&file, entry);
        assert_eq!(unwrapped.len(), 3);
        for key in unwrapped {
            assert_eq!(key.id().to_string(), text(entry, "key_id"));
            assert_eq!(const_hex::encode(key.commitment().as_bytes()), text(entry, "commitment"));
        }
    }
}

#[test]
fn its_values_open_where_they_belong_and_nowhere_else() -> Checked {
    let (file, mut count) = (file(), 0);
    for entry in file["data_keys"].as_array().unwrap() {
        for key in data_keys(&file, entry) {
            let mut opener = Opener::default();
            opener.add(key);
            for value in entry["values"].as_array().unwrap() {
                check_value(&opener, value)?;
                count += 1;
            }
        }
    }
    assert!(count >= 3 * 10, "{count}");
    Ok(())
}

fn check_value(opener: &Opener, value: &Value) -> Checked {
    let (sealed, bound, subject) = (text(value, "sealed"), value["bound"].as_str(), subject(value));
    let context = text(value, "context");
    let mut opening = opener.context(&Context::new(context)?);
    assert!(opening.open(sealed, bound, subject.as_ref())?.as_clear() == clear(value), "{context}");
    let other = format!("{}x", bound.unwrap_or_default());
    assert_eq!(opening.open(sealed, Some(&other), subject.as_ref()), Err(OpenError::Refused));
    let mut opening = opener.context(&Context::new(&format!("{context}x"))?);
    assert_eq!(opening.open(sealed, bound, subject.as_ref()), Err(OpenError::Refused));
    Ok(())
}
