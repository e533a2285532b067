//! The ledger's key of a message.

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// 16 bytes: 48 bits of sent time in milliseconds, big-endian, then the first 80 bits of
/// SHA-256(pipeline, 0x00, message id).
///
/// Keys of later messages sort later, so that the ledger's index grows at its end. The pipeline keeps
/// messages of queues that share a table apart. A message id is opaque text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key([u8; 16]);

impl Key {
    /// `sent_ms` is cut to 48 bits, which every time in the ledger's window fits.
    pub(crate) fn new(pipeline: &str, message_id: &str, sent_ms: i64) -> Self {
        let digest = Sha256::new()
            .chain_update(pipeline.as_bytes())
            .chain_update([0])
            .chain_update(message_id.as_bytes())
            .finalize();
        let time = sent_ms.to_be_bytes().into_iter().skip(2);
        let mut key = [0; 16];
        for (byte, source) in key.iter_mut().zip(time.chain(digest)) {
            *byte = source;
        }
        Self(key)
    }

    /// The sent time in it.
    pub(super) fn sent_ms(self) -> i64 {
        let time = self.0.into_iter().take(6);
        time.fold(0, |sum, byte| (sum << 8) | i64::from(byte))
    }

    pub(crate) fn uuid(self) -> Uuid {
        Uuid::from_bytes(self.0)
    }
}

impl From<Uuid> for Key {
    fn from(uuid: Uuid) -> Self {
        Self(uuid.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_layout_is_the_documented_one() {
        // printf 'a\0b' | sha256sum
        let key = Key::new("a", "b", 0x0102_0304_0506);
        assert_eq!(key.uuid().to_string(), "01020304-0506-59b2-71ae-1bbcb1d31d41");
    }

    #[test]
    fn the_separator_keeps_pipeline_and_message_id_apart() {
        assert_ne!(Key::new("ab", "c", 0), Key::new("a", "bc", 0));
    }

    proptest! {
        #[test]
        fn keys_sort_by_sent_time(a in 0i64..1 << 48, b in 0i64..1 << 48, one in ".*", other in ".*") {
            prop_assume!(a != b);
            prop_assert_eq!(a.cmp(&b), Key::new("p", &one, a).cmp(&Key::new("p", &other, b)));
        }

        #[test]
        fn different_messages_have_different_keys(one in ".*", other in ".*", sent in 0i64..1 << 48) {
            prop_assert_eq!(one == other, Key::new("p", &one, sent) == Key::new("p", &other, sent));
        }

        #[test]
        fn a_key_survives_the_database(id in ".*", sent in 0i64..1 << 48) {
            let key = Key::new("p", &id, sent);
            prop_assert_eq!(Key::from(key.uuid()), key);
            prop_assert_eq!(key.sent_ms(), sent);
        }
    }
}
