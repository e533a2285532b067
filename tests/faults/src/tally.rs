//! How often each fault was injected, what it met, and when.

use std::time::Instant;

use parking_lot::Mutex;

use crate::fault::Fault;

/// Counts of one round; lanes share it.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Vec<Injection>>);

/// One fault, from its beginning to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Injection {
    pub(crate) fault: Fault,
    pub(crate) begun: Instant,
    pub(crate) ended: Instant,
    /// What it broke: calls, connections, statements, processes at work. None when this machine cannot have
    /// it.
    pub(crate) hits: Option<u64>,
}

impl Tally {
    /// `hits` says what the fault broke from `begun` until now.
    pub(crate) fn note(&self, fault: Fault, begun: Instant, hits: Option<u64>) {
        self.0.lock().push(Injection { fault, begun, ended: Instant::now(), hits });
    }

    pub(crate) fn injections(&self) -> Vec<Injection> {
        self.0.lock().clone()
    }
}
