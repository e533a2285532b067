//! RSA-OAEP with SHA-256: Wycheproof.

use aws_lc_rs::rsa::PrivateDecryptingKey;

use super::{bytes, lines};
use crate::wrap::rsa::open;

const VECTORS: &str = include_str!("../../tests/vectors/rsa-oaep-2048-sha256.txt");

#[test]
fn data_keys_are_decrypted_as_published() {
    let (mut key, mut valid, mut invalid) = (None, 0, 0);
    for line in lines(VECTORS) {
        match line[..] {
            ["key", given] => key = Some(PrivateDecryptingKey::from_pkcs8(&bytes(given)).unwrap()),
            [name, message, ciphertext, result] => {
                let opened = open(key.as_ref().unwrap(), &bytes(ciphertext));
                if result == "valid" {
                    assert_eq!(opened.unwrap().as_slice(), bytes(message), "{name}");
                    valid += 1;
                } else {
                    assert!(opened.is_err(), "{name}");
                    invalid += 1;
                }
            }
            _ => panic!("not a vector: {line:?}"),
        }
    }
    assert!(valid >= 10 && invalid >= 15, "{valid} valid, {invalid} invalid");
}
