//! Messages that were rejected and left in the source: they come again and again and do no harm.

use hashlink::LruCache;
use parking_lot::Mutex;

/// How many message ids are remembered. They take some hundred kilobytes.
const CAPACITY: usize = 4096;

/// The ids of the messages that were rejected last. A message that has come many times may be what breaks its
/// receivers; one whose rejection is known is not. The id that was added longest ago is forgotten first: its
/// message is then treated as a suspect once more, which costs only speed.
#[derive(Debug)]
pub struct KnownRejects {
    message_ids: Mutex<LruCache<String, ()>>,
}

impl Default for KnownRejects {
    fn default() -> Self {
        Self { message_ids: Mutex::new(LruCache::new(CAPACITY)) }
    }
}

impl KnownRejects {
    /// Remembers that this message was rejected and left.
    pub fn add(&self, message_id: &str) {
        self.message_ids.lock().insert(message_id.to_owned(), ());
    }

    /// Whether this message is known to have been rejected.
    pub fn contains(&self, message_id: &str) -> bool {
        self.message_ids.lock().contains_key(message_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_remembered_and_no_more() {
        let known_rejects = KnownRejects::default();
        known_rejects.add("0");
        for number in 0..=CAPACITY {
            known_rejects.add(&number.to_string());
        }
        assert!(!known_rejects.contains("0"));
        assert!(known_rejects.contains("1") && known_rejects.contains(&CAPACITY.to_string()));
        assert_eq!(known_rejects.message_ids.lock().len(), CAPACITY);
    }
}
