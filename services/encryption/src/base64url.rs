//! Base64 with the alphabet for URLs, without padding characters, and with one spelling for each byte string
//! (RFC 4648, sections 5 and 3.5).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub(crate) fn push(out: &mut String, bytes: &[u8]) {
    URL_SAFE_NO_PAD.encode_string(bytes, out);
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes, or `None` for anything that [`encode`] does not write: padding characters, other alphabets,
/// bits that are set after the last byte.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// The length of the text of `bytes` bytes.
pub(crate) const fn encoded_len(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_spelling_for_each_byte_string() {
        assert_eq!(encode(&[0xfb, 0xff]), "-_8");
        assert_eq!(decode("-_8"), Some(vec![0xfb, 0xff]));
        for other in ["-_9", "-_8=", "+/8", "-_8 ", "-_8\n", "-", "-_8A=", "\u{e9}"] {
            assert_eq!(decode(other), None, "{other:?}");
        }
    }

    #[test]
    fn the_length_of_the_text_is_known_before() {
        for bytes in 0..50 {
            assert_eq!(encode(&vec![7; bytes]).len(), encoded_len(bytes));
        }
    }
}
