//! The deliveries that the reader holds: received and not yet settled.

use std::collections::HashMap;
use std::fmt;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::delivery::{Delivery, DeliveryNumber};
use crate::window::WindowPermit;

/// All deliveries in flight. A delivery stays here until it is settled.
///
/// Every method locks for as long as it runs and none waits for I/O, so all are safe to call from any task.
pub struct InFlight<M> {
    table: Mutex<Table<M>>,
}

struct Table<M> {
    next: u64,
    deliveries: HashMap<DeliveryNumber, Delivery<M>>,
    /// The delivery of each message id.
    numbers: HashMap<String, DeliveryNumber>,
}

/// What [`InFlight::receive`] made of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The message was not in flight: it is to be sent.
    New(DeliveryNumber),
    /// The message is in flight, and its delivery has adopted this receive: nothing is to be sent.
    Adopted(DeliveryNumber),
}

impl<M> Default for InFlight<M> {
    fn default() -> Self {
        let table = Table { next: 0, deliveries: HashMap::new(), numbers: HashMap::new() };
        Self { table: Mutex::new(table) }
    }
}

/// Shows how many deliveries there are and nothing of them.
impl<M> fmt::Debug for InFlight<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("InFlight").field("deliveries", &self.len()).finish_non_exhaustive()
    }
}

impl<M> InFlight<M> {
    /// Adds a delivery and returns its number. Numbers are never used twice; later deliveries have larger
    /// ones.
    ///
    /// For a source that never delivers a message that is in flight; others use [`Self::receive`].
    pub fn insert(&self, delivery: Delivery<M>) -> DeliveryNumber {
        self.table.lock().insert(delivery)
    }

    /// Takes in a message that was received just now.
    ///
    /// A message that is not in flight becomes a delivery with a number of its own; only then `permit` is
    /// called, so that a message never takes two places in the window. For a message that is in flight,
    /// `adopt` merges the message of this receive into that of its delivery. Neither must use this table.
    pub fn receive(
        &self,
        message_id: String,
        message: M,
        permit: impl FnOnce() -> WindowPermit,
        adopt: impl FnOnce(&mut M, M),
    ) -> Received {
        let mut table = self.table.lock();
        if let Some(number) = table.numbers.get(&message_id).copied()
            && let Some(delivery) = table.deliveries.get_mut(&number)
        {
            adopt(&mut delivery.message, message);
            return Received::Adopted(number);
        }
        Received::New(table.insert(Delivery::new(message_id, message, Instant::now(), permit())))
    }

    /// Removes deliveries that are settled. Numbers that are not in flight any more are ignored. Dropping
    /// what is returned frees its part of the window.
    #[must_use = "the window has room again only when the deliveries are dropped"]
    pub fn remove(&self, numbers: &[DeliveryNumber]) -> Vec<Delivery<M>> {
        self.remove_if(numbers, |_| true)
    }

    /// Removes those of the deliveries for which `done` is true at this moment, as [`Self::remove`] does.
    /// `done` must not use this table.
    #[must_use = "the window has room again only when the deliveries are dropped"]
    pub fn remove_if(
        &self,
        numbers: &[DeliveryNumber],
        mut done: impl FnMut(&Delivery<M>) -> bool,
    ) -> Vec<Delivery<M>> {
        let mut table = self.table.lock();
        numbers.iter().filter_map(|number| table.remove_if(*number, &mut done)).collect()
    }

    /// Calls `look` with one delivery; `None` when it is settled already. `look` must not use this table.
    pub fn with<T>(&self, number: DeliveryNumber, look: impl FnOnce(&mut Delivery<M>) -> T) -> Option<T> {
        self.table.lock().deliveries.get_mut(&number).map(look)
    }

    /// Collects what `pick` returns for each delivery, in no particular order. `pick` must not use this
    /// table.
    pub fn pick<T>(&self, mut pick: impl FnMut(DeliveryNumber, &mut Delivery<M>) -> Option<T>) -> Vec<T> {
        let mut table = self.table.lock();
        table.deliveries.iter_mut().filter_map(|(number, delivery)| pick(*number, delivery)).collect()
    }

    /// How many deliveries are in flight.
    pub fn len(&self) -> usize {
        self.table.lock().deliveries.len()
    }

    /// Whether nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<M> Table<M> {
    fn insert(&mut self, delivery: Delivery<M>) -> DeliveryNumber {
        let number = DeliveryNumber::new(self.next);
        self.next += 1;
        self.numbers.insert(delivery.message_id.clone(), number);
        self.deliveries.insert(number, delivery);
        number
    }

    fn remove_if(
        &mut self,
        number: DeliveryNumber,
        done: impl FnOnce(&Delivery<M>) -> bool,
    ) -> Option<Delivery<M>> {
        self.deliveries.get(&number).filter(|delivery| done(delivery))?;
        let delivery = self.deliveries.remove(&number)?;
        if self.numbers.get(&delivery.message_id) == Some(&number) {
            self.numbers.remove(&delivery.message_id);
        }
        Some(delivery)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Window, WindowLimits};
    use std::sync::Arc;

    fn window() -> Arc<Window> {
        Window::new(WindowLimits {
            messages: 1,
            bytes: 100,
            messages_per_receive: 1,
            largest_message_bytes: 100,
        })
    }

    #[tokio::test]
    async fn a_settled_delivery_is_found_no_more_and_its_room_is_free() {
        let window = window();
        let permit = window.reserve().await.permit(1);
        let in_flight = InFlight::default();
        let number = in_flight.insert(Delivery::new("m".to_owned(), "secret", Instant::now(), permit));
        assert_eq!(in_flight.with(number, |delivery| delivery.message_id.clone()).as_deref(), Some("m"));
        assert!(!format!("{in_flight:?}").contains("secret"));
        assert_eq!(in_flight.remove(&[number, number]).len(), 1);
        assert!(in_flight.with(number, |_| ()).is_none());
        window.reserve().await;
    }

    #[tokio::test]
    async fn a_message_in_flight_adopts_a_second_receive_without_a_second_place() {
        let window = window();
        let mut room = window.reserve().await;
        let in_flight = InFlight::default();
        let adopt = |known: &mut u32, newer: u32| *known += newer;
        let first = in_flight.receive("m".to_owned(), 1, || room.permit(1), adopt);
        let Received::New(number) = first else { panic!("not new") };
        let again = in_flight.receive("m".to_owned(), 10, || panic!("a second place"), adopt);
        assert_eq!(again, Received::Adopted(number));
        assert_eq!((in_flight.with(number, |delivery| delivery.message), in_flight.len()), (Some(11), 1));
    }

    #[tokio::test]
    async fn a_message_that_was_settled_is_new_when_it_comes_again() {
        let window = window();
        let in_flight = InFlight::default();
        let mut numbers = Vec::new();
        for _ in 0..2 {
            let mut room = window.reserve().await;
            let received = in_flight.receive("m".to_owned(), (), || room.permit(1), |(), ()| ());
            let Received::New(number) = received else { panic!("not new") };
            assert!(in_flight.remove_if(&[number], |_| false).is_empty());
            assert_eq!(in_flight.remove(&[number]).len(), 1);
            numbers.push(number);
        }
        assert!(numbers[0] < numbers[1]);
    }
}
