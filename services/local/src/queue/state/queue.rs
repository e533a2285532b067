//! One standard queue. Every step takes logarithmic time for each message that it concerns.

use std::collections::{BTreeMap, BTreeSet};

use super::Millis;
use super::error::{Code, SqsError};
use super::handle::{MessageKey, ReceiptHandle};
use super::message::{Delivery, Message};
use super::settings::{MAX_VISIBILITY_TIMEOUT, QueueSettings};

/// The most messages that may be hidden by receives at one time.
pub(super) const MAX_IN_FLIGHT: usize = 120_000;

/// How long a purge keeps the next one out.
const PURGE_MILLIS: Millis = 60_000;

pub(super) struct Queue {
    pub(super) settings: QueueSettings,
    /// Milliseconds since the Unix epoch.
    pub(super) created: Millis,
    pub(super) modified: Millis,
    /// What its receipt handles begin with.
    nonce: u64,
    messages: BTreeMap<MessageKey, Stored>,
    /// Messages that can be received, in the order in which they became visible.
    visible: BTreeMap<u64, MessageKey>,
    /// When hidden and delayed messages become visible.
    due: BTreeSet<(Millis, MessageKey)>,
    hidden: usize,
    next_number: u64,
    purged: Option<Millis>,
}

struct Stored {
    message: Message,
    place: Place,
}

#[derive(Clone, Copy)]
enum Place {
    Visible { turn: u64 },
    Delayed { until: Millis },
    Hidden { until: Millis, received: Millis },
}

/// How many messages are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::queue) struct Counts {
    pub(in crate::queue) visible: usize,
    pub(in crate::queue) hidden: usize,
    pub(in crate::queue) delayed: usize,
}

/// What a receive took out of the visible messages.
#[derive(Default)]
pub(super) struct Received {
    pub(super) deliveries: Vec<Delivery>,
    /// Messages that have used up their receives and have left the queue, with their sent times.
    pub(super) exhausted: Vec<(Millis, Message)>,
}

impl Queue {
    pub(super) fn new(settings: QueueSettings, now: Millis) -> Self {
        Self {
            settings,
            created: now,
            modified: now,
            nonce: rand::random(),
            messages: BTreeMap::new(),
            visible: BTreeMap::new(),
            due: BTreeSet::new(),
            hidden: 0,
            next_number: 0,
            purged: None,
        }
    }

    /// Removes what is older than the retention period, and shows what is due.
    pub(super) fn advance(&mut self, now: Millis) {
        let oldest = now.saturating_sub(self.settings.retention_millis());
        while let Some((&key, _)) = self.messages.first_key_value()
            && key.sent < oldest
        {
            self.remove(key);
        }
        while let Some(&(when, key)) = self.due.first()
            && when <= now
        {
            self.show(key);
        }
    }

    /// Adds a message that is visible after `delay` milliseconds. `sent` may be in the past.
    pub(super) fn add(&mut self, now: Millis, sent: Millis, delay: Millis, message: Message) {
        let number = self.next();
        let key = MessageKey { sent, number };
        let place =
            if delay == 0 { Place::Visible { turn: number } } else { Place::Delayed { until: now + delay } };
        self.list(key, place);
        self.messages.insert(key, Stored { message, place });
    }

    /// Receives up to `most` messages and hides them for `visibility` milliseconds. A message that has been
    /// received from this queue `max_receives` times already is not received again: it leaves the queue.
    pub(super) fn receive(
        &mut self,
        now: Millis,
        most: usize,
        visibility: Millis,
        max_receives: Option<u32>,
    ) -> Received {
        self.advance(now);
        let mut received = Received::default();
        while received.deliveries.len() < most && !self.is_full() {
            let Some((_, key)) = self.visible.pop_first() else { break };
            let is_exhausted =
                |stored: &Stored| max_receives.is_some_and(|most| stored.message.receives_here() >= most);
            if self.messages.get(&key).is_some_and(is_exhausted) {
                let left = self.messages.remove(&key);
                received.exhausted.extend(left.map(|stored| (key.sent, stored.message)));
            } else {
                received.deliveries.extend(self.deliver(key, now, visibility));
            }
        }
        received
    }

    fn deliver(&mut self, key: MessageKey, now: Millis, visibility: Millis) -> Option<Delivery> {
        let place = Place::Hidden { until: now + visibility, received: now };
        self.list(key, place);
        let stored = self.messages.get_mut(&key)?;
        stored.place = place;
        stored.message.note_receive(now);
        let handle = ReceiptHandle { queue: self.nonce, key, receive: stored.message.receives };
        Some(Delivery { message: stored.message.clone(), sent: key.sent, handle })
    }

    /// Deletes the message unless it was received again after this handle was given out.
    pub(super) fn delete(&mut self, handle: Option<ReceiptHandle>) -> Result<(), SqsError> {
        let handle = self.own(handle)?;
        if self.messages.get(&handle.key).is_some_and(|stored| stored.message.receives == handle.receive) {
            self.remove(handle.key);
        }
        Ok(())
    }

    /// Hides a message for `visibility` milliseconds from now, or shows it if that is 0.
    pub(super) fn change_visibility(
        &mut self,
        now: Millis,
        handle: Option<ReceiptHandle>,
        visibility: Millis,
    ) -> Result<(), SqsError> {
        self.advance(now);
        let ReceiptHandle { key, receive, .. } = self.own(handle)?;
        let stored = self.messages.get(&key).ok_or_else(gone)?;
        let received = match stored.place {
            Place::Hidden { received, .. } if stored.message.receives == receive => received,
            _ => return Err(not_in_flight()),
        };
        if now + visibility > received + MAX_VISIBILITY_TIMEOUT * 1000 {
            return Err(beyond_the_limit());
        }
        if visibility == 0 {
            self.show(key);
        } else {
            self.put(key, Place::Hidden { until: now + visibility, received });
        }
        Ok(())
    }

    pub(super) fn counts(&self) -> Counts {
        let (visible, hidden) = (self.visible.len(), self.hidden);
        Counts { visible, hidden, delayed: self.messages.len() - visible - hidden }
    }

    /// Whether no message may be received until one is deleted or shown.
    pub(super) fn is_full(&self) -> bool {
        self.hidden >= MAX_IN_FLIGHT
    }

    /// Whether a receive would get a message at once.
    pub(super) fn can_deliver(&self) -> bool {
        !self.visible.is_empty() && !self.is_full()
    }

    pub(super) fn purge(&mut self, now: Millis) -> Result<(), SqsError> {
        if self.purged.is_some_and(|purged| now < purged + PURGE_MILLIS) {
            let text = "Only one PurgeQueue operation is allowed every 60 seconds.";
            return Err(SqsError::new(Code::PurgeQueueInProgress, text));
        }
        self.messages.clear();
        self.visible.clear();
        self.due.clear();
        self.hidden = 0;
        self.purged = Some(now);
        Ok(())
    }

    /// The visible message that comes next.
    pub(super) fn first_visible(&self) -> Option<&Message> {
        let (_, key) = self.visible.first_key_value()?;
        self.messages.get(key).map(|stored| &stored.message)
    }

    pub(super) fn remove_first_visible(&mut self) {
        if let Some((_, &key)) = self.visible.first_key_value() {
            self.remove(key);
        }
    }

    /// When the next hidden or delayed message becomes visible.
    pub(super) fn next_due(&self) -> Option<Millis> {
        self.due.first().map(|&(when, _)| when)
    }

    /// A handle that this queue has given out.
    fn own(&self, handle: Option<ReceiptHandle>) -> Result<ReceiptHandle, SqsError> {
        let text = "The input receipt handle is invalid.";
        handle
            .filter(|handle| handle.queue == self.nonce)
            .ok_or_else(|| SqsError::new(Code::ReceiptHandleIsInvalid, text))
    }

    fn next(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn show(&mut self, key: MessageKey) {
        let turn = self.next();
        self.put(key, Place::Visible { turn });
    }

    fn put(&mut self, key: MessageKey, place: Place) {
        if let Some(stored) = self.messages.get_mut(&key) {
            let old = std::mem::replace(&mut stored.place, place);
            self.unlist(key, old);
            self.list(key, place);
        }
    }

    fn remove(&mut self, key: MessageKey) {
        if let Some(stored) = self.messages.remove(&key) {
            self.unlist(key, stored.place);
        }
    }

    fn list(&mut self, key: MessageKey, place: Place) {
        match place {
            Place::Visible { turn } => drop(self.visible.insert(turn, key)),
            Place::Delayed { until } => drop(self.due.insert((until, key))),
            Place::Hidden { until, .. } => {
                self.due.insert((until, key));
                self.hidden += 1;
            }
        }
    }

    fn unlist(&mut self, key: MessageKey, place: Place) {
        match place {
            Place::Visible { turn } => drop(self.visible.remove(&turn)),
            Place::Delayed { until } => drop(self.due.remove(&(until, key))),
            Place::Hidden { until, .. } => {
                self.due.remove(&(until, key));
                self.hidden -= 1;
            }
        }
    }
}

fn gone() -> SqsError {
    let text = "Value for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not \
                available for visibility timeout change.";
    SqsError::new(Code::InvalidParameterValue, text)
}

fn not_in_flight() -> SqsError {
    SqsError::new(Code::MessageNotInflight, "The message referred to is not in flight.")
}

fn beyond_the_limit() -> SqsError {
    let text = "Value for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the \
                message is beyond the limit [43200 seconds].";
    SqsError::new(Code::InvalidParameterValue, text)
}
