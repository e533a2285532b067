//! Messages that were rejected and left: they come again and again, but do their receivers no harm.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// More than a queue of rejected messages brings round in a while; they take some hundred kilobytes.
const CAPACITY: usize = 4096;

/// Remembers the ids of the last such messages; the oldest is forgotten first. A message that is forgotten is only
/// taken for a suspect once more.
#[derive(Debug, Default)]
pub(crate) struct Acquitted {
    ids: Mutex<Ids>,
}

#[derive(Debug, Default)]
struct Ids {
    known: HashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
}

impl Acquitted {
    pub(crate) fn add(&self, message_id: &str) {
        let mut ids = self.ids();
        let id = Arc::<str>::from(message_id);
        if !ids.known.insert(Arc::clone(&id)) {
            return;
        }
        ids.order.push_back(id);
        if ids.order.len() > CAPACITY
            && let Some(oldest) = ids.order.pop_front()
        {
            ids.known.remove(&oldest);
        }
    }

    pub(crate) fn contains(&self, message_id: &str) -> bool {
        self.ids().known.contains(message_id)
    }

    fn ids(&self) -> MutexGuard<'_, Ids> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_remembered_and_no_more() {
        let acquitted = Acquitted::default();
        acquitted.add("0");
        for number in 0..=CAPACITY {
            acquitted.add(&number.to_string());
        }
        assert!(!acquitted.contains("0"));
        assert!(acquitted.contains("1") && acquitted.contains(&CAPACITY.to_string()));
        let ids = acquitted.ids();
        assert_eq!((ids.known.len(), ids.order.len()), (CAPACITY, CAPACITY));
    }
}
