//! Encodings around a body: Base64, gzip and Zstandard, bounded in size and ratio.

use std::io::{ErrorKind, Read};

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use flate2::read::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;
use ruzstd::decoding::errors::FrameDecoderError;

use super::flaw::BodyFlaw;

/// The largest text that a body may be decoded to, in bytes.
pub(crate) const MAX_DECODED_BYTES: usize = 8 * 1024 * 1024;

/// The largest window of a Zstandard frame, in bytes.
const MAX_WINDOW_BYTES: u64 = 8 * 1024 * 1024;

/// How many times larger than its compressed form a text may be, beyond the first [`FREE_BYTES`]. JSON
/// shrinks to a tenth, or to a hundredth when its records are alike; what is beyond is made to do harm.
const MAX_RATIO: usize = 200;

/// A text of up to this size may be compressed as well as it can be, in bytes.
const FREE_BYTES: usize = 256 * 1024;

/// An encoding that policies can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Base64,
    Gzip,
    Zstd,
}

impl Encoding {
    pub(crate) const ALL: [Self; 3] = [Self::Base64, Self::Gzip, Self::Zstd];

    /// The name in policies.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Base64 => "base64",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    pub(super) fn decode(self, encoded: &[u8]) -> Result<Vec<u8>, BodyFlaw> {
        match self {
            Self::Base64 => base64(encoded),
            // Files that are joined are one file, as `gzip` itself has it.
            Self::Gzip => self.decompress(encoded.len(), MultiGzDecoder::new(encoded)),
            Self::Zstd => self.zstd(encoded),
        }
    }

    /// Frames that stand one after the other are one text, as `zstd` itself has it. The window is memory that
    /// a frame asks for in its header; it is bounded like the text.
    fn zstd(self, mut encoded: &[u8]) -> Result<Vec<u8>, BodyFlaw> {
        let (length, mut text) = (encoded.len(), Vec::new());
        loop {
            let frame = StreamingDecoder::new_with_max_window_size(&mut encoded, MAX_WINDOW_BYTES);
            let frame = frame.map_err(|error| match error {
                FrameDecoderError::WindowSizeTooBig { .. } => BodyFlaw::TooLarge,
                _ => BodyFlaw::NotDecodable(self),
            })?;
            self.read_into(&mut text, length, frame)?;
            if encoded.is_empty() {
                return Ok(text);
            }
        }
    }

    fn decompress(self, compressed_bytes: usize, decoder: impl Read) -> Result<Vec<u8>, BodyFlaw> {
        let mut text = Vec::new();
        self.read_into(&mut text, compressed_bytes, decoder)?;
        Ok(text)
    }

    /// Reads to the end, and one byte beyond the limit to see that there is more.
    fn read_into(
        self,
        text: &mut Vec<u8>,
        compressed_bytes: usize,
        decoder: impl Read,
    ) -> Result<(), BodyFlaw> {
        let limit = (FREE_BYTES + MAX_RATIO * compressed_bytes).min(MAX_DECODED_BYTES);
        let room = limit.saturating_sub(text.len()) + 1;
        let read = decoder.take(room.try_into().unwrap_or(u64::MAX)).read_to_end(text);
        match read {
            Ok(_) if text.len() > limit => Err(BodyFlaw::TooLarge),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::OutOfMemory => Err(BodyFlaw::TooLarge),
            Err(_) => Err(BodyFlaw::NotDecodable(self)),
        }
    }
}

/// Base64 with either alphabet of RFC 4648, with or without padding and line breaks.
fn base64(encoded: &[u8]) -> Result<Vec<u8>, BodyFlaw> {
    const CONFIG: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text: Vec<u8> = encoded.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let is_url_safe = text.iter().any(|byte| matches!(byte, b'-' | b'_'));
    let alphabet = if is_url_safe { &URL_SAFE } else { &STANDARD };
    let decoded = GeneralPurpose::new(alphabet, CONFIG).decode(text);
    decoded.map_err(|_| BodyFlaw::NotDecodable(Encoding::Base64))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        compress_to_vec(text, CompressionLevel::Fastest)
    }

    #[test]
    fn base64_is_decoded_as_in_section_10_of_rfc_4648() {
        for (encoded, text) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
            ("Zm9vYmE", "fooba"),
            ("Zm9v\r\nYmFy\n", "foobar"),
        ] {
            assert_eq!(Encoding::Base64.decode(encoded.as_bytes()).unwrap(), text.as_bytes(), "{encoded:?}");
        }
        let bytes = [0xfb, 0xff, 0xbe];
        assert_eq!(Encoding::Base64.decode(b"+/++").unwrap(), bytes);
        assert_eq!(Encoding::Base64.decode(b"-_--").unwrap(), bytes);
    }

    #[test]
    fn what_is_not_encoded_is_refused() {
        for (encoding, bytes) in [
            (Encoding::Base64, &b"{\"a\": 1}"[..]),
            (Encoding::Base64, b"Zm9v=Zm9v"),
            (Encoding::Base64, b"+_++"),
            (Encoding::Gzip, b"{\"a\": 1}"),
            (Encoding::Gzip, b""),
            (Encoding::Zstd, b"{\"a\": 1}"),
            (Encoding::Zstd, b""),
        ] {
            assert_eq!(encoding.decode(bytes), Err(BodyFlaw::NotDecodable(encoding)), "{encoding:?}");
        }
    }

    #[test]
    fn a_compressed_text_that_is_cut_off_or_damaged_is_refused() {
        let text = "a text that is worth a checksum ".repeat(20);
        for (encoding, whole) in
            [(Encoding::Gzip, gzip(text.as_bytes())), (Encoding::Zstd, zstd(text.as_bytes()))]
        {
            for length in 0..whole.len() {
                let cut = encoding.decode(&whole[..length]);
                assert_eq!(cut, Err(BodyFlaw::NotDecodable(encoding)), "{encoding:?} cut to {length}");
            }
        }
        let mut damaged = gzip(text.as_bytes());
        let checksum = damaged.len() - 8;
        damaged[checksum] ^= 1;
        assert_eq!(Encoding::Gzip.decode(&damaged), Err(BodyFlaw::NotDecodable(Encoding::Gzip)));
    }

    #[test]
    fn parts_that_are_joined_are_one_text() {
        let [one, two] = [&b"{\"a\": 1}\n"[..], b"{\"a\": 2}\n"];
        let both = [one, two].concat();
        assert_eq!(Encoding::Gzip.decode(&[gzip(one), gzip(two)].concat()).unwrap(), both);
        assert_eq!(Encoding::Zstd.decode(&[zstd(one), zstd(two)].concat()).unwrap(), both);
    }

    #[test]
    fn a_bomb_is_refused_before_it_takes_memory() {
        let bomb = gzip(&vec![b' '; 64 * 1024 * 1024]);
        assert!(bomb.len() < 100_000);
        assert_eq!(Encoding::Gzip.decode(&bomb), Err(BodyFlaw::TooLarge));
        let beyond_ratio = gzip(&vec![b' '; 1024 * 1024]);
        assert!(FREE_BYTES + MAX_RATIO * beyond_ratio.len() < 1024 * 1024);
        assert_eq!(Encoding::Gzip.decode(&beyond_ratio), Err(BodyFlaw::TooLarge));
        assert_eq!(Encoding::Zstd.decode(&zstd(&vec![b' '; 64 * 1024 * 1024])), Err(BodyFlaw::TooLarge));
        assert!(Encoding::Gzip.decode(&gzip(&vec![b' '; FREE_BYTES])).is_ok());
    }

    /// A frame of a few bytes: magic number, header without a content size, window, an empty last block.
    /// <https://www.rfc-editor.org/rfc/rfc8878#name-frame_header>
    #[test]
    fn a_frame_that_asks_for_much_memory_is_refused() {
        let frame = |window_exponent: u8| {
            [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, (window_exponent - 10) << 3][..], &[1, 0, 0]].concat()
        };
        assert_eq!(Encoding::Zstd.decode(&frame(23)), Ok(Vec::new()), "8 MiB");
        for exponent in [24, 27, 31] {
            assert_eq!(
                Encoding::Zstd.decode(&frame(exponent)),
                Err(BodyFlaw::TooLarge),
                "2^{exponent} bytes"
            );
        }
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in prop::collection::vec(any::<u8>(), 0..5000)) {
            prop_assert_eq!(Encoding::Gzip.decode(&gzip(&text)), Ok(text.clone()));
            prop_assert_eq!(Encoding::Zstd.decode(&zstd(&text)), Ok(text.clone()));
            let encoded = base64::engine::general_purpose::STANDARD.encode(&text);
            prop_assert_eq!(Encoding::Base64.decode(encoded.as_bytes()), Ok(text));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), with_magic in 0..3) {
            let magic: &[u8] = match with_magic { 0 => &[], 1 => &[0x1f, 0x8b, 8], _ => &[0x28, 0xb5, 0x2f, 0xfd] };
            let bytes = [magic, &bytes].concat();
            for encoding in Encoding::ALL {
                drop(encoding.decode(&bytes));
            }
        }
    }
}
