//! The deliveries that the reader holds: received and not yet settled.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::delivery::{Delivery, DeliveryNumber};

/// All deliveries in flight. A delivery stays here until it is settled.
///
/// Every method locks for as long as it runs and none waits for I/O, so all are safe to call from any task.
pub struct InFlight<M> {
    next: AtomicU64,
    deliveries: Mutex<HashMap<DeliveryNumber, Delivery<M>>>,
}

impl<M> Default for InFlight<M> {
    fn default() -> Self {
        Self { next: AtomicU64::default(), deliveries: Mutex::default() }
    }
}

/// Shows how many deliveries there are and nothing of them.
impl<M> fmt::Debug for InFlight<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deliveries = self.deliveries.lock().len();
        formatter.debug_struct("InFlight").field("deliveries", &deliveries).finish_non_exhaustive()
    }
}

impl<M> InFlight<M> {
    /// Adds a delivery and returns its number. Numbers are never used twice; later deliveries have larger
    /// ones.
    pub fn insert(&self, delivery: Delivery<M>) -> DeliveryNumber {
        let number = DeliveryNumber::new(self.next.fetch_add(1, Ordering::Relaxed));
        self.deliveries.lock().insert(number, delivery);
        number
    }

    /// Removes deliveries that are settled. Numbers that are not in flight any more are ignored. Dropping
    /// what is returned frees its part of the window.
    #[must_use = "the window has room again only when the deliveries are dropped"]
    pub fn remove(&self, numbers: &[DeliveryNumber]) -> Vec<Delivery<M>> {
        let mut deliveries = self.deliveries.lock();
        numbers.iter().filter_map(|number| deliveries.remove(number)).collect()
    }

    /// Calls `look` with one delivery; `None` when it is settled already. `look` must not use this table.
    pub fn with<T>(&self, number: DeliveryNumber, look: impl FnOnce(&mut Delivery<M>) -> T) -> Option<T> {
        self.deliveries.lock().get_mut(&number).map(look)
    }

    /// Collects what `pick` returns for each delivery, in no particular order. `pick` must not use this
    /// table.
    pub fn pick<T>(&self, mut pick: impl FnMut(DeliveryNumber, &mut Delivery<M>) -> Option<T>) -> Vec<T> {
        self.deliveries.lock().iter_mut().filter_map(|(number, delivery)| pick(*number, delivery)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Window, WindowLimits};
    use tokio::time::Instant;

    #[tokio::test]
    async fn a_settled_delivery_is_found_no_more_and_its_room_is_free() {
        let limits =
            WindowLimits { messages: 1, bytes: 100, messages_per_receive: 1, largest_message_bytes: 100 };
        let window = Window::new(limits);
        let permit = window.reserve().await.permit(1);
        let in_flight = InFlight::default();
        let number = in_flight.insert(Delivery::new("m".to_owned(), "secret", Instant::now(), permit));
        assert_eq!(in_flight.with(number, |delivery| delivery.message_id.clone()).as_deref(), Some("m"));
        assert!(!format!("{in_flight:?}").contains("secret"));
        assert_eq!(in_flight.remove(&[number, number]).len(), 1);
        assert!(in_flight.with(number, |_| ()).is_none());
        window.reserve().await;
    }
}
