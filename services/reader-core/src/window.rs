//! The in-flight window: how many messages, and how many bytes of them, the reader holds at once.

use std::mem;
use std::sync::Arc;

use metrics::Gauge;
use parking_lot::Mutex;
use tokio::sync::Notify;
use veilpost_runtime::numbers;

use crate::metrics::{IN_FLIGHT_BYTES, IN_FLIGHT_MESSAGES};

/// One receive may fill the window's bytes divided by this.
const RECEIVES_IN_WINDOW: usize = 4;

/// How much the window holds, and how much a receive of its source may bring.
#[derive(Clone, Copy, Debug)]
pub struct WindowLimits {
    /// The most messages in flight; 0 counts as 1.
    pub messages: usize,
    /// The most bytes of messages in flight; 0 counts as 1. Exceeded only by one round of receives, when
    /// messages suddenly grow.
    pub bytes: usize,
    /// The most messages that one receive brings.
    pub messages_per_receive: usize,
    /// The largest message that the source takes, in bytes. Each message counts as this large until the first
    /// has come.
    pub largest_message_bytes: usize,
}

/// Room for what is in flight. It is reserved before a receive, and only what arrived keeps it.
///
/// How many bytes will arrive is unknown before a receive. Each message therefore counts as large as the
/// largest of late, so that one round of receives can exceed the window at most, and only when messages
/// suddenly grow. Large messages are received fewer at a time, because a message is held more than once while
/// it is parsed.
#[derive(Debug)]
pub struct Window {
    limits: WindowLimits,
    held: Mutex<Held>,
    freed: Notify,
    messages_gauge: Gauge,
    bytes_gauge: Gauge,
}

#[derive(Debug)]
struct Held {
    messages: usize,
    bytes: usize,
    /// The largest message of late, in bytes. It grows at once and shrinks slowly.
    largest: usize,
    seen_any: bool,
}

impl Window {
    /// An empty window.
    pub fn new(limits: WindowLimits) -> Arc<Self> {
        let limits = WindowLimits { messages: limits.messages.max(1), bytes: limits.bytes.max(1), ..limits };
        let largest = limits.largest_message_bytes;
        Arc::new(Self {
            limits,
            held: Mutex::new(Held { messages: 0, bytes: 0, largest, seen_any: false }),
            freed: Notify::new(),
            messages_gauge: metrics::gauge!(IN_FLIGHT_MESSAGES),
            bytes_gauge: metrics::gauge!(IN_FLIGHT_BYTES),
        })
    }

    /// Waits for room for one receive. Cancel safe; only one task may wait at a time.
    pub async fn reserve(self: &Arc<Self>) -> Reservation {
        loop {
            if let Some(reservation) = self.try_reserve() {
                return reservation;
            }
            self.freed.notified().await;
        }
    }

    fn try_reserve(self: &Arc<Self>) -> Option<Reservation> {
        let limits = &self.limits;
        let mut held = self.held.lock();
        let few = (limits.bytes / RECEIVES_IN_WINDOW / held.largest.max(1)).max(1);
        let messages = few.min(limits.messages_per_receive).min(limits.messages);
        let bytes = held.largest.saturating_mul(messages).min(limits.bytes);
        let fits = held.messages + messages <= limits.messages && held.bytes + bytes <= limits.bytes;
        fits.then(|| {
            held.messages += messages;
            held.bytes += bytes;
            Reservation { window: Arc::clone(self), messages, bytes, largest: 0 }
        })
    }

    fn add(&self, bytes: usize) {
        let mut held = self.held.lock();
        held.messages += 1;
        held.bytes += bytes;
        drop(held);
        self.messages_gauge.increment(1.0);
        self.bytes_gauge.increment(numbers::to_f64(bytes));
    }

    fn release(&self, messages: usize, bytes: usize) {
        let mut held = self.held.lock();
        held.messages -= messages;
        held.bytes -= bytes;
        drop(held);
        self.freed.notify_one();
    }

    fn learn(&self, largest: usize) {
        let mut held = self.held.lock();
        let faded = if mem::replace(&mut held.seen_any, true) { held.largest - held.largest / 16 } else { 0 };
        held.largest = faded.max(largest);
    }
}

/// Room for what one receive may bring. What no message has taken is free again when this is dropped.
#[derive(Debug)]
pub struct Reservation {
    window: Arc<Window>,
    messages: usize,
    bytes: usize,
    largest: usize,
}

impl Reservation {
    /// How many messages the receive may ask for.
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// Takes the room of one message of `bytes` bytes, even where that is more than was reserved.
    pub fn permit(&mut self, bytes: usize) -> WindowPermit {
        self.largest = self.largest.max(bytes);
        self.window.add(bytes);
        let messages = self.messages.min(1);
        let spare = self.bytes.min(bytes);
        self.messages -= messages;
        self.bytes -= spare;
        self.window.release(messages, spare);
        WindowPermit { window: Arc::clone(&self.window), bytes }
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

/// One message's part of the window, free again when this is dropped.
#[derive(Debug)]
pub struct WindowPermit {
    window: Arc<Window>,
    bytes: usize,
}

impl WindowPermit {
    /// The message's size in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for WindowPermit {
    fn drop(&mut self) {
        self.window.release(1, self.bytes);
        self.window.messages_gauge.decrement(1.0);
        self.window.bytes_gauge.decrement(numbers::to_f64(self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use proptest::prelude::*;

    /// Of a source of this file's tests.
    const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

    fn window(messages: usize, bytes: usize) -> Arc<Window> {
        let largest_message_bytes = MAX_MESSAGE_BYTES;
        Window::new(WindowLimits { messages, bytes, messages_per_receive: 10, largest_message_bytes })
    }

    fn held(window: &Window) -> (usize, usize) {
        let held = window.held.lock();
        (held.messages, held.bytes)
    }

    #[tokio::test]
    async fn a_full_window_makes_the_next_receive_wait_until_something_is_settled() {
        let window = window(10, 40 * MAX_MESSAGE_BYTES);
        let mut reservation = window.reserve().await;
        let permit = reservation.permit(100);
        drop(reservation);
        let mut waiting = Box::pin(window.reserve());
        assert!(waiting.as_mut().now_or_never().is_none(), "nine places are left, a receive needs ten");
        drop(permit);
        assert_eq!(waiting.await.messages(), 10);
    }

    #[tokio::test]
    async fn until_the_first_message_each_counts_as_the_largest_possible() {
        let window = window(1000, 16 * MAX_MESSAGE_BYTES);
        let receives: Vec<_> = (0..4).map(|_| window.reserve().now_or_never().unwrap()).collect();
        assert_eq!(held(&window), (16, 16 * MAX_MESSAGE_BYTES));
        assert!(window.reserve().now_or_never().is_none());
        drop(receives);
    }

    #[tokio::test]
    async fn small_messages_soon_make_room_for_many_receives() {
        let window = window(1000, 16 * MAX_MESSAGE_BYTES);
        drop(window.reserve().await.permit(300));
        let several: Vec<_> = (0..8).map(|_| window.reserve().now_or_never().unwrap()).collect();
        assert_eq!(held(&window), (80, 8 * 10 * 300));
        drop(several);
    }

    #[tokio::test]
    async fn a_window_smaller_than_one_receive_asks_for_less() {
        let window = window(3, 16 * MAX_MESSAGE_BYTES);
        assert_eq!(window.reserve().await.messages(), 3);
    }

    #[tokio::test]
    async fn large_messages_are_received_fewer_at_a_time() {
        let window = window(1000, 8 * MAX_MESSAGE_BYTES);
        assert_eq!(window.reserve().await.messages(), 2);
        drop(window.reserve().await.permit(300));
        assert_eq!(window.reserve().await.messages(), 10);
    }

    #[tokio::test]
    async fn a_message_larger_than_the_window_still_passes_when_it_is_alone() {
        let window = window(100, 1000);
        let permit = window.reserve().await.permit(5000);
        assert!(window.reserve().now_or_never().is_none());
        drop(permit);
        assert!(window.reserve().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_cancelled_wait_keeps_nothing() {
        let window = window(10, 40 * MAX_MESSAGE_BYTES);
        let first = window.reserve().await;
        assert!(window.reserve().now_or_never().is_none());
        drop(first);
        assert_eq!(held(&window), (0, 0));
        assert!(window.reserve().now_or_never().is_some());
    }

    proptest! {
        #[test]
        fn whatever_arrives_the_accounting_returns_to_zero(rounds in prop::collection::vec(prop::collection::vec(0usize..200_000, 0..=12), 1..20)) {
            let window = window(200, 16 * MAX_MESSAGE_BYTES);
            let mut permits = Vec::new();
            for sizes in &rounds {
                let Some(mut reservation) = window.reserve().now_or_never() else { break };
                permits.extend(sizes.iter().map(|size| reservation.permit(*size)));
                drop(reservation);
                prop_assert_eq!(held(&window), (permits.len(), permits.iter().map(|permit| permit.bytes).sum()));
            }
            permits.clear();
            prop_assert_eq!(held(&window), (0, 0));
        }
    }
}
