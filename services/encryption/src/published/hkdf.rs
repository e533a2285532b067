//! HKDF with SHA-256: RFC 5869, appendix A, and Wycheproof.

use super::{bytes, lines};
use crate::crypto::{expand, extract};

const VECTORS: &str = include_str!("../../tests/vectors/hkdf-sha256.txt");

#[test]
fn keys_are_derived_as_published() {
    let mut checked = 0;
    for line in lines(VECTORS) {
        let [name, secret, salt, info, length, output, "valid"] = line[..] else {
            panic!("not a vector: {line:?}")
        };
        let key = extract(&bytes(salt), &bytes(secret));
        let info = bytes(info);
        let made = match length {
            "20" => expand::<20>(&key, &info).unwrap().to_vec(),
            "32" => expand::<32>(&key, &info).unwrap().to_vec(),
            "42" => expand::<42>(&key, &info).unwrap().to_vec(),
            "56" => expand::<56>(&key, &info).unwrap().to_vec(),
            "64" => expand::<64>(&key, &info).unwrap().to_vec(),
            "80" => expand::<80>(&key, &info).unwrap().to_vec(),
            "82" => expand::<82>(&key, &info).unwrap().to_vec(),
            _ => panic!("no such length: {length}"),
        };
        assert_eq!(made, bytes(output), "{name}");
        checked += 1;
    }
    assert!(checked > 70, "{checked}");
}
