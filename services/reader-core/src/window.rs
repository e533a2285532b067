//! The in-flight window: how many messages, and how many bytes of them, the reader holds at once.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::Gauge;
use tokio::sync::Notify;

use crate::metrics::real;
use crate::queue::MAX_ENTRIES;

/// The largest message that SQS takes, and what a message is taken for until the first one has been seen.
pub(crate) const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// One receive may fill this part of the window's bytes.
const RECEIVE_PART: usize = 4;

/// Room is reserved before a receive, and only what arrived keeps it. How many bytes will arrive is unknown before:
/// each message is taken for as large as the largest of late, so that the window is exceeded by one round of receives
/// at most, and only when messages suddenly grow. Large messages are received fewer at a time, because what comes in
/// is held more than once while it is parsed.
#[derive(Debug)]
pub(crate) struct Window {
    limit_messages: usize,
    limit_bytes: usize,
    held: Mutex<Held>,
    freed: Notify,
    messages_gauge: Gauge,
    bytes_gauge: Gauge,
}

#[derive(Debug)]
struct Held {
    messages: usize,
    bytes: usize,
    /// The largest message of late: grows at once, shrinks slowly.
    largest: usize,
    seen_any: bool,
}

impl Window {
    pub(crate) fn new(messages: usize, bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            limit_messages: messages.max(1),
            limit_bytes: bytes.max(1),
            held: Mutex::new(Held { messages: 0, bytes: 0, largest: MAX_MESSAGE_BYTES, seen_any: false }),
            freed: Notify::new(),
            messages_gauge: metrics::gauge!("veilpost_reader_in_flight_messages"),
            bytes_gauge: metrics::gauge!("veilpost_reader_in_flight_bytes"),
        })
    }

    /// Waits for room for one receive. Cancel safe; for one at a time.
    pub(crate) async fn reserve(self: &Arc<Self>) -> Reservation {
        loop {
            if let Some(reservation) = self.try_reserve() {
                return reservation;
            }
            self.freed.notified().await;
        }
    }

    fn try_reserve(self: &Arc<Self>) -> Option<Reservation> {
        let mut held = self.held();
        let few = (self.limit_bytes / RECEIVE_PART / held.largest.max(1)).max(1);
        let messages = few.min(MAX_ENTRIES).min(self.limit_messages);
        let bytes = held.largest.saturating_mul(messages).min(self.limit_bytes);
        let fits = held.messages + messages <= self.limit_messages && held.bytes + bytes <= self.limit_bytes;
        fits.then(|| {
            held.messages += messages;
            held.bytes += bytes;
            Reservation { window: Arc::clone(self), messages, bytes, largest: 0 }
        })
    }

    fn arrived(&self, bytes: usize) {
        let mut held = self.held();
        held.messages += 1;
        held.bytes += bytes;
        drop(held);
        self.messages_gauge.increment(1.0);
        self.bytes_gauge.increment(real(bytes));
    }

    fn release(&self, messages: usize, bytes: usize) {
        let mut held = self.held();
        held.messages -= messages;
        held.bytes -= bytes;
        drop(held);
        self.freed.notify_one();
    }

    fn learn(&self, largest: usize) {
        let mut held = self.held();
        let faded = if mem::replace(&mut held.seen_any, true) { held.largest - held.largest / 16 } else { 0 };
        held.largest = faded.max(largest);
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for what one receive may bring; what has not been shared out is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    window: Arc<Window>,
    messages: usize,
    bytes: usize,
    largest: usize,
}

impl Reservation {
    /// How many messages may be asked for.
    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    /// The part of a message that came, of `bytes` bytes.
    pub(crate) fn share(&mut self, bytes: usize) -> Share {
        self.largest = self.largest.max(bytes);
        self.window.arrived(bytes);
        let messages = self.messages.min(1);
        let spare = self.bytes.min(bytes);
        self.messages -= messages;
        self.bytes -= spare;
        self.window.release(messages, spare);
        Share { window: Arc::clone(&self.window), bytes }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.largest > 0 {
            self.window.learn(self.largest);
        }
        self.window.release(self.messages, self.bytes);
    }
}

/// One message's part of the window, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    window: Arc<Window>,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.window.release(1, self.bytes);
        self.window.messages_gauge.decrement(1.0);
        self.window.bytes_gauge.decrement(real(self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use proptest::prelude::*;

    fn held(window: &Window) -> (usize, usize) {
        let held = window.held();
        (held.messages, held.bytes)
    }

    #[tokio::test]
    async fn a_full_window_makes_the_next_receive_wait_until_something_is_settled() {
        let window = Window::new(10, 40 * MAX_MESSAGE_BYTES);
        let mut reservation = window.reserve().await;
        let share = reservation.share(100);
        drop(reservation);
        let mut waiting = Box::pin(window.reserve());
        assert!(waiting.as_mut().now_or_never().is_none(), "nine places are left, a receive needs ten");
        drop(share);
        assert_eq!(waiting.await.messages(), 10);
    }

    #[tokio::test]
    async fn until_a_message_has_been_seen_each_is_taken_for_the_largest_possible() {
        let window = Window::new(1000, 16 * MAX_MESSAGE_BYTES);
        let receives: Vec<_> = (0..4).map(|_| window.reserve().now_or_never().unwrap()).collect();
        assert_eq!(held(&window), (16, 16 * MAX_MESSAGE_BYTES));
        assert!(window.reserve().now_or_never().is_none());
        drop(receives);
    }

    #[tokio::test]
    async fn small_messages_soon_make_room_for_many_receives() {
        let window = Window::new(1000, 16 * MAX_MESSAGE_BYTES);
        drop(window.reserve().await.share(300));
        let several: Vec<_> = (0..8).map(|_| window.reserve().now_or_never().unwrap()).collect();
        assert_eq!(held(&window), (80, 8 * 10 * 300));
        drop(several);
    }

    #[tokio::test]
    async fn a_window_smaller_than_one_receive_asks_for_less() {
        let window = Window::new(3, 16 * MAX_MESSAGE_BYTES);
        assert_eq!(window.reserve().await.messages(), 3);
    }

    #[tokio::test]
    async fn large_messages_are_received_fewer_at_a_time() {
        let window = Window::new(1000, 8 * MAX_MESSAGE_BYTES);
        assert_eq!(window.reserve().await.messages(), 2);
        drop(window.reserve().await.share(300));
        assert_eq!(window.reserve().await.messages(), 10);
    }

    #[tokio::test]
    async fn a_message_larger_than_the_window_still_passes_when_it_is_alone() {
        let window = Window::new(100, 1000);
        let share = window.reserve().await.share(5000);
        assert!(window.reserve().now_or_never().is_none());
        drop(share);
        assert!(window.reserve().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_cancelled_wait_keeps_nothing() {
        let window = Window::new(10, 40 * MAX_MESSAGE_BYTES);
        let first = window.reserve().await;
        assert!(window.reserve().now_or_never().is_none());
        drop(first);
        assert_eq!(held(&window), (0, 0));
        assert!(window.reserve().now_or_never().is_some());
    }

    proptest! {
        #[test]
        fn whatever_arrives_the_accounting_returns_to_zero(rounds in prop::collection::vec(prop::collection::vec(0usize..200_000, 0..=12), 1..20)) {
            let window = Window::new(200, 16 * MAX_MESSAGE_BYTES);
            let mut shares = Vec::new();
            for sizes in &rounds {
                let Some(mut reservation) = window.reserve().now_or_never() else { break };
                shares.extend(sizes.iter().map(|size| reservation.share(*size)));
                drop(reservation);
                prop_assert_eq!(held(&window), (shares.len(), shares.iter().map(|share| share.bytes).sum()));
            }
            shares.clear();
            prop_assert_eq!(held(&window), (0, 0));
        }
    }
}
