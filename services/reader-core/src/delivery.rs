//! A delivery: a message that was received and is not settled yet.

use std::fmt;

use tokio::time::Instant;

use crate::window::WindowPermit;

/// Identifies a delivery within this process. A message id cannot: a message that was settled may come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryNumber(u64);

impl DeliveryNumber {
    /// The number itself. [`InFlight::insert`](crate::InFlight::insert) hands them out; only tests make their
    /// own.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// Everything that is needed to settle a message that was received; receives of it meanwhile count as the
/// same delivery.
///
/// `M` is the source's own form of the message: whatever its reader needs to complete, reject or release it.
pub struct Delivery<M> {
    /// The id that the source gave the message.
    pub message_id: String,
    /// When the message was received, for the first time in this delivery.
    pub received: Instant,
    /// The message, as its source knows it.
    pub message: M,
    permit: WindowPermit,
}

impl<M> Delivery<M> {
    /// A delivery that holds its part of the in-flight window until it is dropped.
    pub fn new(message_id: String, message: M, received: Instant, permit: WindowPermit) -> Self {
        Self { message_id, received, message, permit }
    }

    /// The size of the message in bytes, as it counts in the in-flight window.
    pub fn bytes(&self) -> usize {
        self.permit.bytes()
    }
}

/// Shows the message's id and nothing of its content.
impl<M> fmt::Debug for Delivery<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Delivery").field("message_id", &self.message_id).finish_non_exhaustive()
    }
}
