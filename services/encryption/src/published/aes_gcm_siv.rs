//! AES-256-GCM-SIV: RFC 8452, appendix C, and Wycheproof.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};

use super::{bytes, lines};

const VECTORS: &str = include_str!("../../tests/vectors/aes-256-gcm-siv.txt");

#[test]
fn values_are_sealed_and_opened_as_published() {
    let (mut valid, mut invalid) = (0, 0);
    for line in lines(VECTORS) {
        let [name, key, nonce, associated, plaintext, ciphertext, tag, result] = line[..] else {
            panic!("not a vector: {line:?}")
        };
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, &bytes(key)).unwrap());
        let nonce = || Nonce::try_assume_unique_for_key(&bytes(nonce)).unwrap();
        let (associated, plaintext, sealed) = (bytes(associated), bytes(plaintext), bytes(ciphertext));
        let mut opened = [sealed.as_slice(), &bytes(tag)].concat();
        let opened = key.open_in_place(nonce(), Aad::from(&associated), &mut opened);
        if result == "valid" {
            assert_eq!(opened.as_deref(), Ok(plaintext.as_slice()), "{name}");
            let mut made = plaintext.clone();
            let made_tag =
                key.seal_in_place_separate_tag(nonce(), Aad::from(&associated), &mut made).unwrap();
            assert_eq!((made, made_tag.as_ref()), (sealed, bytes(tag).as_slice()), "{name}");
            valid += 1;
        } else {
            assert!(opened.is_err(), "{name}");
            invalid += 1;
        }
    }
    assert!(valid > 50 && invalid > 20, "{valid} valid, {invalid} invalid");
}
