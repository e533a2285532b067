//! After how many receives SQS moves a message to the dead-letter queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The `maxReceiveCount` of the queue's RedrivePolicy, as the queue last said. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct MaxReceives(Arc<AtomicU32>);

impl MaxReceives {
    /// `None` when the queue has no RedrivePolicy: then SQS moves nothing.
    pub(crate) fn set(&self, most: Option<u32>) {
        self.0.store(most.unwrap_or(0), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|most| *most > 0)
    }

    /// Whether SQS moves a message instead of delivering it again after this many receives.
    pub(crate) fn is_last(&self, receive_count: u32) -> bool {
        self.get().is_some_and(|most| receive_count >= most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_receive_is_known_as_soon_as_the_queue_has_said_it() {
        let max_receives = MaxReceives::default();
        assert!(!max_receives.is_last(1000));
        max_receives.clone().set(Some(5));
        assert!(!max_receives.is_last(4) && max_receives.is_last(5) && max_receives.is_last(6));
        max_receives.set(None);
        assert!(!max_receives.is_last(1000));
    }
}
