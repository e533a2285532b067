//! What can go wrong with a call to SQS, and how often it is to go wrong.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One way in which a call fails, or succeeds strangely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqsFault {
    /// The call is passed on late.
    Delay(Duration),
    /// 503, without a word that SQS would say.
    Unavailable,
    /// 500 with SQS's own error.
    InternalError,
    /// SQS says that there are too many calls.
    Throttled,
    /// An answer that SQS would never give, from something on the way.
    Garbage,
    /// The connection is reset and the call has no effect.
    Reset,
    /// The call takes effect, but its answer is a reset.
    AnswerLost,
    /// No answer for so long, and no effect.
    Hang(Duration),
    /// Every second entry of a batch is refused and has no effect; the others succeed.
    EntriesRefused,
    /// Every second entry is said to be refused, but all took effect.
    EntriesMisreported,
    /// Every second entry is refused because its receipt handle is said to be no longer valid.
    HandlesRefused,
    /// Every message of a receive is in the answer twice.
    DeliverTwice,
    /// What is received is made visible again at once: another receive gets it too, and the first handle is stale.
    Redeliver,
}

/// A fault that waits for the calls that it applies to.
#[derive(Clone, Debug)]
pub struct Armed {
    action: &'static str,
    fault: SqsFault,
    left: Arc<AtomicU64>,
    hits: Arc<AtomicU64>,
}

impl Armed {
    /// How many calls it has met.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::SeqCst)
    }

    /// It has met all the calls that it was armed for.
    pub fn is_spent(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    /// From now on it meets no calls.
    pub fn disarm(&self) {
        self.left.store(0, Ordering::SeqCst);
    }
}

/// The faults that are armed, in the order in which they apply.
#[derive(Debug, Default)]
pub(super) struct Arsenal(Mutex<Vec<Armed>>);

/// A fault that a call has met; it counts once [`Self::hit`] is called, and is armed again otherwise.
#[derive(Debug)]
pub(super) struct Met {
    armed: Armed,
    counted: bool,
}

impl Arsenal {
    pub(super) fn arm(&self, action: &'static str, fault: SqsFault, calls: u64) -> Armed {
        let armed = Armed { action, fault, left: Arc::new(AtomicU64::new(calls)), hits: Arc::default() };
        self.armed().push(armed.clone());
        armed
    }

    /// The first fault that applies to a call of `action`.
    pub(super) fn meet(&self, action: &str) -> Option<Met> {
        let mut armed = self.armed();
        armed.retain(|armed| !armed.is_spent());
        let found = armed.iter().find(|armed| action.starts_with(armed.action))?;
        found.left.fetch_sub(1, Ordering::SeqCst);
        Some(Met { armed: found.clone(), counted: false })
    }

    fn armed(&self) -> MutexGuard<'_, Vec<Armed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Met {
    pub(super) fn fault(&self) -> SqsFault {
        self.armed.fault
    }

    pub(super) fn hit(&mut self) {
        self.counted = true;
        self.armed.hits.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Met {
    fn drop(&mut self) {
        if !self.counted && !self.armed.is_spent() {
            self.armed.left.fetch_add(1, Ordering::SeqCst);
        }
    }
}
