//! `sha512`: a digest without a key. Where few values are possible, it can be guessed.

use sha2::{Digest, Sha512};

/// SHA-512 (FIPS 180-4) of the UTF-8 text, as 128 lower-case hexadecimal digits.
pub(super) fn sha512(text: &str) -> String {
    const_hex::encode(Sha512::digest(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::sha512;

    #[test]
    fn sha512_of_abc_is_the_digest_of_fips_180_4() {
        let expected = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                        2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
        assert_eq!(sha512("abc"), expected);
    }

    proptest! {
        #[test]
        fn equal_texts_have_equal_digests_and_others_do_not(one: String, other: String) {
            prop_assert_eq!(sha512(&one) == sha512(&other), one == other);
            prop_assert_eq!(sha512(&one).len(), 128);
            prop_assert!(sha512(&one).bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
        }
    }
}
