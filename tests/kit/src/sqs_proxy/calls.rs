//! How many calls have come, by action, and how many are in flight.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Counts of all actions. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct CallCounts(Arc<Mutex<HashMap<String, CallCount>>>);

/// Counts of one action.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CallCount {
    pub(super) total: usize,
    pub(super) in_flight: usize,
    pub(super) most_in_flight: usize,
}

/// A call that is not answered yet; dropping it says that it is, or that its caller has gone.
#[derive(Debug)]
pub(super) struct InFlightCall {
    counts: CallCounts,
    action: String,
}

impl CallCounts {
    pub(super) fn of(&self, action: &str) -> CallCount {
        self.0.lock().get(action).copied().unwrap_or_default()
    }

    pub(super) fn begin(&self, action: &str) -> InFlightCall {
        let mut counts = self.0.lock();
        let count = counts.entry(action.to_owned()).or_default();
        count.total += 1;
        count.in_flight += 1;
        count.most_in_flight = count.most_in_flight.max(count.in_flight);
        InFlightCall { counts: self.clone(), action: action.to_owned() }
    }
}

impl Drop for InFlightCall {
    fn drop(&mut self) {
        if let Some(count) = self.counts.0.lock().get_mut(&self.action) {
            count.in_flight = count.in_flight.saturating_sub(1);
        }
    }
}
