//! Any interleaving of receives, expiries, receipts, extensions and deletes, against a small model of SQS.

use std::collections::HashSet;
use std::sync::Arc;

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use proptest::prelude::*;
use tokio::time::Instant;
use tracing::Span;
use veilpost_reader_core::{CompletedDelivery, DeliveryNumber, Received};

use crate::delete::{Deleter, testing::deleter};
use crate::entries::{EntryRefusal, EntryResult};
use crate::heartbeat::{Heartbeat, testing::heartbeat};
use crate::message::testing::permit;
use crate::message::{SqsInFlight, SqsMessage, incoming};
use crate::receipt_handle::ReceiptHandle;

const MESSAGES: usize = 3;

/// A message in the queue; its newest handle is its receive count.
#[derive(Clone, Copy, Debug, Default)]
struct Queued {
    receives: u32,
    is_hidden: bool,
    is_deleted: bool,
}

/// What SQS does with the handle of an older receive: it may accept it and do nothing.
#[derive(Clone, Copy)]
enum Stale {
    Refused,
    Ignored,
}

struct World {
    queue: [Queued; MESSAGES],
    /// Receives whose answers have not come yet: the message, and its receive count.
    answers: Vec<(usize, u32)>,
    /// Deliveries whose receipts have not come yet.
    sent: Vec<DeliveryNumber>,
    completed: Vec<CompletedDelivery>,
    deletes: Vec<(CompletedDelivery, ReceiptHandle, EntryResult)>,
    extensions: Vec<(DeliveryNumber, ReceiptHandle, EntryResult)>,
    /// The newest receive of each message of which the reader knows.
    known: [u32; MESSAGES],
    in_flight: Arc<SqsInFlight>,
    deleter: Deleter,
    heartbeat: Heartbeat,
}

fn refused(code: &str, sender_fault: bool) -> EntryResult {
    Err(EntryRefusal { code: code.to_owned(), sender_fault })
}

fn index(message_id: &str) -> usize {
    message_id.parse().unwrap()
}

fn count(handle: &ReceiptHandle) -> u32 {
    handle.expose().parse().unwrap()
}

impl World {
    fn new() -> Self {
        let in_flight = Arc::<SqsInFlight>::default();
        Self {
            queue: Default::default(),
            answers: Vec::new(),
            sent: Vec::new(),
            completed: Vec::new(),
            deletes: Vec::new(),
            extensions: Vec::new(),
            known: Default::default(),
            deleter: deleter(Arc::clone(&in_flight)),
            heartbeat: heartbeat(Arc::clone(&in_flight)),
            in_flight,
        }
    }

    fn receive(&mut self, index: usize) {
        let queued = &mut self.queue[index];
        if queued.is_hidden || queued.is_deleted {
            return;
        }
        queued.receives += 1;
        queued.is_hidden = true;
        self.answers.push((index, queued.receives));
    }

    fn answer(&mut self, pick: usize) {
        let (index, receives) = self.answers.swap_remove(pick % self.answers.len());
        let message = Message::builder().message_id(index.to_string()).receipt_handle(receives.to_string());
        let name = MessageSystemAttributeName::ApproximateReceiveCount;
        let (message_id, message) = incoming(message.attributes(name, receives.to_string()).build()).unwrap();
        self.known[index] = self.known[index].max(receives);
        let was_in_flight = self.handle_of(index).is_some();
        match self.in_flight.receive(message_id, message, permit, SqsMessage::adopt) {
            Received::New(number) => {
                assert!(!was_in_flight, "sent a second time");
                self.sent.push(number);
            }
            Received::Adopted(_) => {
                assert!(was_in_flight);
                assert_eq!(self.handle_of(index), Some(self.known[index]), "the newest handle");
            }
        }
    }

    fn handle_of(&self, index: usize) -> Option<u32> {
        let handles = self.in_flight.pick(|_, delivery| {
            (delivery.message_id == index.to_string()).then(|| count(&delivery.message.handle))
        });
        assert!(handles.len() <= 1, "in flight twice");
        handles.first().copied()
    }

    fn receipt(&mut self, pick: usize) {
        let number = self.sent.swap_remove(pick % self.sent.len());
        self.completed.push(CompletedDelivery::new(number, Span::none()));
    }

    /// What SQS says to a call with this handle of a message, and whether the call has any effect.
    fn judge(&self, index: usize, handle: &ReceiptHandle, stale: Stale) -> (EntryResult, bool) {
        let queued = self.queue[index];
        let is_valid = queued.receives == count(handle) && !queued.is_deleted;
        match stale {
            _ if is_valid => (Ok(()), true),
            Stale::Refused => (refused("ReceiptHandleIsInvalid", true), false),
            Stale::Ignored => (Ok(()), false),
        }
    }

    fn start_delete(&mut self, pick: usize, stale: Stale, fails: bool) {
        let delivery = self.completed.swap_remove(pick % self.completed.len());
        let look = |delivery: &mut crate::message::SqsDelivery| {
            (index(&delivery.message_id), delivery.message.handle.clone())
        };
        let (index, handle) = self.in_flight.with(delivery.number, look).unwrap();
        let (result, works) =
            if fails { (refused("InternalError", false), false) } else { self.judge(index, &handle, stale) };
        self.queue[index].is_deleted |= works;
        self.deletes.push((delivery, handle, result));
    }

    fn end_delete(&mut self, pick: usize) {
        let (delivery, handle, result) = self.deletes.swap_remove(pick % self.deletes.len());
        let id = self.in_flight.with(delivery.number, |delivery| index(&delivery.message_id)).unwrap();
        let (number, is_ok) = (delivery.number, result.is_ok());
        let again = self.deleter.handle_results(vec![(delivery, handle.clone())], vec![result]);
        if again.is_empty() {
            assert_eq!(count(&handle), self.known[id], "a newer receive is known");
            assert!(self.in_flight.with(number, |_| ()).is_none());
            let is_on_its_way = self.answers.iter().any(|(index, _)| *index == id);
            assert!(!is_ok || self.queue[id].is_deleted || is_on_its_way, "taken for deleted");
            self.known[id] = 0;
        }
        self.completed.extend(again);
    }

    fn start_extension(&mut self, pick: usize, stale: Stale) {
        let mut all = self.in_flight.pick(|number, delivery| {
            Some((number, index(&delivery.message_id), delivery.message.handle.clone()))
        });
        all.sort_by_key(|(number, ..)| *number);
        let Some((number, index, handle)) = all.get(pick % all.len().max(1)) else { return };
        let (result, works) = self.judge(*index, handle, stale);
        self.queue[*index].is_hidden |= works;
        self.extensions.push((*number, handle.clone(), result));
    }

    fn end_extension(&mut self, pick: usize) {
        let (number, handle, result) = self.extensions.swap_remove(pick % self.extensions.len());
        let is_lost = |heartbeat: &Heartbeat| {
            heartbeat.in_flight.with(number, |delivery| {
                (delivery.message.handle.expose().to_owned(), delivery.message.hidden_since.is_none())
            })
        };
        let before = is_lost(&self.heartbeat);
        let batch = [(number, handle.clone(), std::time::Duration::from_secs(1))];
        self.heartbeat.handle_results(&batch, &[result], Instant::now());
        if before.as_ref().is_some_and(|(now, _)| now != handle.expose()) {
            assert_eq!(is_lost(&self.heartbeat), before, "the result of an older handle counts");
        }
    }

    fn step(&mut self, action: u8, pick: usize, stale: Stale) {
        match action % 9 {
            0 | 1 => self.receive(pick % MESSAGES),
            2 if !self.answers.is_empty() => self.answer(pick),
            3 => self.queue[pick % MESSAGES].is_hidden = false,
            4 if !self.sent.is_empty() => self.receipt(pick),
            5 if !self.completed.is_empty() => self.start_delete(pick, stale, pick.is_multiple_of(4)),
            6 if !self.deletes.is_empty() => self.end_delete(pick),
            7 => self.start_extension(pick, stale),
            8 if !self.extensions.is_empty() => self.end_extension(pick),
            _ => {}
        }
        let ids: Vec<_> = self.in_flight.pick(|_, delivery| Some(delivery.message_id.clone()));
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "in flight twice");
        assert_eq!(ids.len(), self.sent.len() + self.completed.len() + self.deletes.len(), "one place each");
    }

    /// Lets everything happen that can, until nothing is in flight and nothing is in the queue.
    fn comes_to_rest(&mut self) -> bool {
        for _ in 0..50 {
            while !self.sent.is_empty() {
                self.receipt(0);
            }
            while !self.completed.is_empty() {
                self.start_delete(0, Stale::Ignored, false);
            }
            while !self.deletes.is_empty() {
                self.end_delete(0);
            }
            for index in 0..MESSAGES {
                self.queue[index].is_hidden = false;
                self.receive(index);
            }
            while !self.answers.is_empty() {
                self.answer(0);
            }
            if self.in_flight.is_empty() && self.queue.iter().all(|queued| queued.is_deleted) {
                return true;
            }
        }
        false
    }
}

proptest! {
    #[test]
    fn a_message_has_one_place_and_goes_only_by_its_newest_handle(
        steps in prop::collection::vec((any::<u8>(), 0usize..100, any::<bool>()), 0..120),
    ) {
        let mut world = World::new();
        for (action, pick, refuses) in steps {
            world.step(action, pick, if refuses { Stale::Refused } else { Stale::Ignored });
        }
        prop_assert!(world.comes_to_rest(), "every message is deleted in the end");
    }
}
