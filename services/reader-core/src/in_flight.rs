//! The deliveries that the reader holds: received, and not yet settled.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::delivery::{Delivery, DeliveryNumber};

/// Everything in flight. A delivery stays here, and is kept hidden by heartbeats, until it is settled.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    last: AtomicU64,
    deliveries: Mutex<HashMap<DeliveryNumber, Delivery>>,
}

impl InFlight {
    /// Takes a delivery in and gives it its number.
    pub(crate) fn insert(&self, delivery: Delivery) -> DeliveryNumber {
        let number = DeliveryNumber(self.last.fetch_add(1, Ordering::Relaxed));
        self.deliveries().insert(number, delivery);
        number
    }

    /// Ends the reader's interest in deliveries: no heartbeat any more, and their room is free.
    pub(crate) fn remove(&self, numbers: &[DeliveryNumber]) -> Vec<Delivery> {
        let mut deliveries = self.deliveries();
        numbers.iter().filter_map(|number| deliveries.remove(number)).collect()
    }

    /// What `look` finds in a delivery, unless it is settled.
    pub(crate) fn with<T>(&self, number: DeliveryNumber, look: impl FnOnce(&mut Delivery) -> T) -> Option<T> {
        self.deliveries().get_mut(&number).map(look)
    }

    /// Everything that `pick` picks out of all deliveries.
    pub(crate) fn pick<T>(&self, mut pick: impl FnMut(DeliveryNumber, &mut Delivery) -> Option<T>) -> Vec<T> {
        self.deliveries().iter_mut().filter_map(|(number, delivery)| pick(*number, delivery)).collect()
    }

    /// Notes since when a delivery counts as freshly hidden; `None` when it can no longer be extended. False when it is
    /// settled already.
    pub(crate) fn hidden_since(&self, number: DeliveryNumber, since: Option<Instant>) -> bool {
        self.with(number, |delivery| delivery.hidden_since = since).is_some()
    }

    fn deliveries(&self) -> MutexGuard<'_, HashMap<DeliveryNumber, Delivery>> {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
