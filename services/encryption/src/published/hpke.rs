//! HPKE with the two KEMs in use: RFC 9180, appendix A.2.1 (X25519), and draft-ietf-hpke-pq (X-Wing).

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::{X25519HkdfSha256, XWing};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable, setup_receiver, setup_sender_with_rng};
use serde_json::Value;
use zeroize::Zeroizing;

use super::bytes;
use crate::wrap::hpke::Randomness;

const VECTORS: &str = include_str!("../../tests/vectors/hpke.json");

/// The one vector of a KEM (its number in the registry of IANA).
fn vector(kem: u16) -> Value {
    let all: Vec<Value> = serde_json::from_str(VECTORS).unwrap();
    let of_kem = |vector: &Value| vector["kem_id"] == kem && vector["kdf_id"] == 1 && vector["aead_id"] == 3;
    all.into_iter().find(of_kem).unwrap()
}

fn check<K: Kem>(vector: &Value) {
    let field = |name: &str| bytes(vector[name].as_str().unwrap());
    let private = K::PrivateKey::from_bytes(&field("skRm")).unwrap();
    let public = K::sk_to_pk(&private);
    assert_eq!(public.to_bytes().as_slice(), field("pkRm"));

    let mut randomness = field("ikmE");
    randomness.resize(64, 0);
    let mut randomness = Randomness::of(Zeroizing::new(randomness.try_into().unwrap()));
    let info = field("info");
    let (encapsulated, mut sender) = setup_sender_with_rng::<ChaCha20Poly1305, HkdfSha256, K>(
        &OpModeS::Base,
        &public,
        &info,
        &mut randomness,
    )
    .unwrap();
    assert_eq!(encapsulated.to_bytes().as_slice(), field("enc"));
    let mut receiver =
        setup_receiver::<ChaCha20Poly1305, HkdfSha256, K>(&OpModeR::Base, &private, &encapsulated, &info)
            .unwrap();

    let messages = vector["encryptions"].as_array().unwrap();
    assert!(messages.len() >= 3);
    for message in messages {
        let field = |name: &str| bytes(message[name].as_str().unwrap());
        assert_eq!(sender.seal(&field("pt"), &field("aad")).unwrap(), field("ct"));
        assert_eq!(receiver.open(&field("ct"), &field("aad")).unwrap(), field("pt"));
    }
}

#[test]
fn x25519_encapsulates_and_seals_as_published() {
    check::<X25519HkdfSha256>(&vector(0x0020));
}

#[test]
fn x_wing_encapsulates_and_seals_as_published() {
    check::<XWing>(&vector(0x647a));
}
