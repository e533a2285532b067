//! Faults of calls to SQS, and how many calls each fault is to hit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// A way in which a call fails or misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqsFault {
    /// The call is passed on late.
    Delay(Duration),
    /// Status 503, without SQS's own error format.
    Unavailable,
    /// Status 500 with SQS's own error.
    InternalError,
    /// SQS throttles the call.
    Throttled,
    /// Another error of SQS: its HTTP status and its code.
    Error(u16, &'static str),
    /// This JSON is the answer, and the call has no effect.
    Answer(&'static str),
    /// The call is passed on without this field, as to a queue that does not know it.
    FieldIgnored(&'static str),
    /// An answer that SQS would never give, from something on the way.
    Garbage,
    /// The connection is reset and the call has no effect.
    Reset,
    /// The call takes effect, but its answer is a reset.
    AnswerLost,
    /// No effect, and no answer until this time has passed.
    Hang(Duration),
    /// All entries of a batch are refused with this code, by the sender's fault, and have no effect.
    AllEntriesRefused(&'static str),
    /// Every second entry of a batch is refused and has no effect; the others succeed.
    EntriesRefused,
    /// The answer says that every second entry was refused, but all took effect.
    EntriesMisreported,
    /// Every second entry is refused with an invalid receipt handle.
    HandlesRefused,
    /// Every message of a receive is in the answer twice.
    DeliverTwice,
    /// Received messages become visible again at once: another receive gets them too, and the first handles
    /// are stale.
    Redeliver,
}

/// Which calls a fault applies to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Calls {
    Of(&'static str),
    StartingWith(&'static str),
}

/// A fault that waits for the calls that it applies to.
#[derive(Clone, Debug)]
pub struct ArmedFault {
    calls: Calls,
    fault: SqsFault,
    left: Arc<AtomicU64>,
    hits: Arc<AtomicU64>,
}

impl ArmedFault {
    /// How many calls it has hit.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::SeqCst)
    }

    /// Whether it has hit all the calls that it was armed for.
    pub fn is_spent(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    /// From now on it hits no calls.
    pub fn disarm(&self) {
        self.left.store(0, Ordering::SeqCst);
    }
}

impl Calls {
    fn include(self, action: &str) -> bool {
        match self {
            Self::Of(wanted) => action == wanted,
            Self::StartingWith(prefix) => action.starts_with(prefix),
        }
    }
}

/// The armed faults, in the order in which they apply.
#[derive(Debug, Default)]
pub(super) struct ArmedFaults(Mutex<Vec<ArmedFault>>);

/// A fault taken for one call: used up once [`Self::hit`] is called, armed again otherwise.
#[derive(Debug)]
pub(super) struct PendingHit {
    armed: ArmedFault,
    counted: bool,
}

impl ArmedFaults {
    /// `times` is how many calls it is to hit.
    pub(super) fn arm(&self, calls: Calls, fault: SqsFault, times: u64) -> ArmedFault {
        let armed = ArmedFault { calls, fault, left: Arc::new(AtomicU64::new(times)), hits: Arc::default() };
        self.0.lock().push(armed.clone());
        armed
    }

    /// The first fault that applies to a call of `action`.
    pub(super) fn take(&self, action: &str) -> Option<PendingHit> {
        let mut armed = self.0.lock();
        armed.retain(|armed| !armed.is_spent());
        let found = armed.iter().find(|armed| armed.calls.include(action))?;
        found.left.fetch_sub(1, Ordering::SeqCst);
        Some(PendingHit { armed: found.clone(), counted: false })
    }
}

impl PendingHit {
    pub(super) fn fault(&self) -> SqsFault {
        self.armed.fault
    }

    pub(super) fn hit(&mut self) {
        self.counted = true;
        self.armed.hits.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for PendingHit {
    fn drop(&mut self) {
        if !self.counted && !self.armed.is_spent() {
            self.armed.left.fetch_add(1, Ordering::SeqCst);
        }
    }
}
