//! The message as the queue sees it.

/// After this many receives the queue moves the message to the dead-letter queue by itself.
pub const MAX_RECEIVES: u8 = 3;

/// Where the message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// In the queue, and the next receive gets it.
    Visible,
    /// In the queue, hidden by a receive.
    Hidden,
    /// Deleted by a reader.
    Deleted,
    /// Moved to the dead-letter queue by the queue itself, after [`MAX_RECEIVES`] receives.
    Moved,
}

/// The message in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueuedMessage {
    /// Where it is.
    pub place: Place,
    /// How often it was received.
    pub receives: u8,
    /// Whether a reader has sent a copy to the dead-letter queue.
    pub is_dead_lettered: bool,
    /// Whether extensions of the visibility timeout are denied.
    pub extensions_denied: bool,
}

impl QueuedMessage {
    pub(crate) fn new() -> Self {
        Self { place: Place::Visible, receives: 0, is_dead_lettered: false, extensions_denied: false }
    }

    /// Whether the handle of the `receive`-th receive still deletes the message. A delete with an older
    /// handle succeeds without deleting.
    pub(crate) fn is_current(self, receive: u8) -> bool {
        self.receives == receive && matches!(self.place, Place::Visible | Place::Hidden)
    }

    /// Whether the handle of the `receive`-th receive still hides the message from everybody else.
    pub(crate) fn is_held_by(self, receive: u8) -> bool {
        self.receives == receive && self.place == Place::Hidden
    }
}
