//! The fixed file of keys, wraps and values that other implementations open, made again from its seeds:
//! `tests/interop/vectors/veilpost.json`. With the variable VEILPOST_WRITE_VECTORS set, it is written.

use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::tests::{RSA_PRIVATE, recipient};
use crate::value::NONCE_LEN;
use crate::wrap::{hpke::Randomness, wrap_with};
use crate::*;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/interop/vectors/veilpost.json");

/// Bytes that anybody can make again.
fn seed(of: &str) -> [u8; 32] {
    crypto::sha256(of.as_bytes())
}

fn data_key(of: &str) -> DataKey {
    DataKey::from_secret(Zeroizing::new(seed(of))).unwrap()
}

fn private_keys() -> [PrivateKey; 3] {
    let of_seed = |suite: Suite, id: &str| {
        let seed = base64url::encode(&seed(id));
        PrivateKey::parse(&format!("veilpost-private-key-1 {suite} {id} {seed}")).unwrap()
    };
    [
        of_seed(Suite::XWing, "recovery-2026"),
        of_seed(Suite::X25519, "escrow"),
        PrivateKey::from_rsa_pem(recipient("kms.eu_1"), RSA_PRIVATE).unwrap(),
    ]
}

struct Case {
    clear: Clear<'static>,
    bound: Option<&'static str>,
    pad: usize,
    subject: Option<&'static str>,
}

const ROW: Option<&str> = Some("9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d");

const CASES: [Case; 10] = [
    Case { clear: Clear::Text("203.0.113.7"), bound: ROW, pad: 32, subject: None },
    Case { clear: Clear::Text("203.0.113.7"), bound: None, pad: 0, subject: None },
    Case { clear: Clear::Text(""), bound: Some(""), pad: 0, subject: None },
    Case { clear: Clear::Text(""), bound: None, pad: 16, subject: None },
    Case { clear: Clear::Text("\0\u{80}\0\0"), bound: None, pad: 5, subject: None },
    Case { clear: Clear::Text("Zoë, 漢字 🙂"), bound: Some("é"), pad: 1, subject: None },
    Case { clear: Clear::Number("-0.1500E+20"), bound: ROW, pad: 32, subject: None },
    Case { clear: Clear::Boolean(true), bound: ROW, pad: 8, subject: None },
    Case { clear: Clear::Json(r#"{"b":[1, 2.0],"a":null}"#), bound: ROW, pad: 4096, subject: None },
    Case { clear: Clear::Text("ada@example.org"), bound: ROW, pad: 32, subject: Some("a person") },
];

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Number => "number",
        Kind::Boolean => "boolean",
        Kind::Json => "json",
    }
}

fn value(key: &SealingKey, number: usize, case: &Case) -> Value {
    let context = format!("interop/{number}");
    let nonce: [u8; NONCE_LEN] = *seed(&context).first_chunk().unwrap();
    let subject = case.subject.map(|of| SubjectSecret::from_bytes(Zeroizing::new(seed(of))));
    let padding = Padding::to_multiple_of(case.pad).unwrap();
    let sealer = match &subject {
        None => key.sealer(&Context::new(&context).unwrap(), padding),
        Some(subject) => key.erasable_sealer(&Context::new(&context).unwrap(), padding, subject),
    };
    json!({
        "context": context,
        "bound": case.bound,
        "pad": case.pad,
        "subject": subject.map(|subject| const_hex::encode(subject.expose())),
        "nonce": const_hex::encode(nonce),
        "kind": kind_name(case.clear.kind()),
        "value": case.clear.as_str(),
        "sealed": sealer.unwrap().seal_with_nonce(nonce, case.clear, case.bound).unwrap(),
    })
}

fn wrap(private: &PrivateKey, key: &DataKey) -> String {
    let randomness = [seed("randomness 1"), seed("randomness 2")].concat().try_into().unwrap();
    let randomness = Randomness::of(Zeroizing::new(randomness));
    let wrap = wrap_with(&private.public_key().unwrap(), key.secret(), key, randomness).unwrap();
    base64url::encode(&wrap.to_bytes())
}

fn data_key_with_values(of: &str) -> Value {
    let key = SealingKey::of(data_key(of));
    let wraps = private_keys().map(|private| (private.suite().name(), wrap(&private, key.data_key())));
    json!({
        "secret": const_hex::encode(key.data_key().secret()),
        "key_id": key.data_key().id().to_string(),
        "commitment": const_hex::encode(key.data_key().commitment().as_bytes()),
        "wraps": wraps.into_iter().map(|(suite, wrap)| (suite.to_owned(), wrap.into())).collect::<serde_json::Map<_, Value>>(),
        "values": CASES.iter().enumerate().map(|(number, case)| value(&key, number, case)).collect::<Vec<_>>(),
    })
}

fn made() -> Value {
    let recipients = private_keys().map(|private| {
        let public = private.public_key().unwrap();
        json!({
            "suite": private.suite().name(),
            "private_key": *private.expose_text(),
            "public_key": public.to_string(),
            "fingerprint": public.fingerprint().to_string(),
        })
    });
    let data_keys = ["data key 1", "data key 2"].map(data_key_with_values);
    json!({ "made_by": "veilpost-encryption", "recipients": recipients, "data_keys": data_keys })
}

/// Takes the wraps that RSA has made out, as its randomness is the library's.
fn without_rsa(file: &mut Value) -> Vec<Vec<u8>> {
    let keys = file["data_keys"].as_array_mut().unwrap();
    let take = |key: &mut Value| key["wraps"]["rsa-oaep-256"].take();
    keys.iter_mut().map(|key| base64url::decode(take(key).as_str().unwrap()).unwrap()).collect()
}

#[test]
fn the_file_for_other_implementations_is_what_this_code_makes() {
    let mut made = made();
    if std::env::var_os("VEILPOST_WRITE_VECTORS").is_some() {
        std::fs::write(FILE, serde_json::to_string_pretty(&made).unwrap() + "\n").unwrap();
    }
    let mut file: Value = serde_json::from_str(&std::fs::read_to_string(FILE).unwrap()).unwrap();
    let [.., rsa] = private_keys();
    for (wrap, of) in without_rsa(&mut file).iter().zip(["data key 1", "data key 2"]) {
        assert_eq!(rsa.unwrap_key(&Wrap::from_bytes(wrap).unwrap()).unwrap().id(), data_key(of).id());
    }
    without_rsa(&mut made);
    assert_eq!(file, made);
}
