//! Awaits the receipts of batches and passes each delivery on to how it is settled.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tracing::Span;
use veilpost_proto::v1::Receipt;
use veilpost_runtime::{Lifecycle, telemetry};

use crate::actions::{CompletedDelivery, LeftDelivery, RejectedDelivery};
use crate::delivery::DeliveryNumber;
use crate::in_flight::InFlight;
use crate::known_rejects::KnownRejects;
use crate::metrics::{LEFT, REJECTED, SETTLED};
use crate::settlement::{Rejection, Settlement, settlements};

/// A batch on its way whose receipt is awaited.
#[derive(Debug)]
pub struct PendingReceipt {
    /// The batch's deliveries, in the order of its records.
    pub numbers: Vec<DeliveryNumber>,
    /// Where the receipt comes; closed without one when the link gives the batch up.
    pub receipt: oneshot::Receiver<Receipt>,
    /// The batch's span. It ends when the batch's last delivery is settled.
    pub span: Span,
}

impl PendingReceipt {
    async fn answered(self) -> Answered {
        Answered { numbers: self.numbers, receipt: self.receipt.await.ok(), span: self.span }
    }
}

/// A batch with its receipt; `None` when the link gave it up.
struct Answered {
    numbers: Vec<DeliveryNumber>,
    receipt: Option<Receipt>,
    span: Span,
}

/// What is to be done with the deliveries of one batch.
#[derive(Default)]
struct Actions {
    completed: Vec<CompletedDelivery>,
    rejected: Vec<RejectedDelivery>,
    left: Vec<LeftDelivery>,
}

/// Turns receipts into actions: what is stored is passed on to be completed, what is rejected to be copied to
/// where rejected messages go, and everything else is left in the source.
#[derive(Debug)]
pub struct Settler<M> {
    /// Where the deliveries of the batches are.
    pub in_flight: Arc<InFlight<M>>,
    /// Where stored deliveries go. It needs room for everything that can be in flight, so that nothing waits.
    pub completed: mpsc::Sender<Vec<CompletedDelivery>>,
    /// Where rejected deliveries go, with room as above; `None` leaves rejected messages in the source.
    pub rejected: Option<mpsc::Sender<Vec<RejectedDelivery>>>,
    /// Where deliveries go that are left in the source, with room as above; `None` forgets them at once.
    pub left: Option<mpsc::Sender<Vec<LeftDelivery>>>,
    /// Remembers the rejected messages that are left in the source.
    pub known_rejects: Arc<KnownRejects>,
    /// In a drain, what would be left stays in flight instead, to be released at the end.
    pub lifecycle: Lifecycle,
}

impl<M> Settler<M> {
    /// Settles until `batches` is closed and the last receipt has come or been given up.
    ///
    /// Batches are settled in the order in which their receipts come: none waits for another. A dropped
    /// future settles nothing further; every delivery that it had not settled is still in flight.
    pub async fn run(self, mut batches: mpsc::Receiver<PendingReceipt>) {
        let mut pending = FuturesUnordered::new();
        let mut open = true;
        loop {
            tokio::select! {
                Some(answered) = pending.next(), if !pending.is_empty() => self.settle(answered).await,
                batch = batches.recv(), if open => match batch {
                    Some(batch) => pending.push(batch.answered()),
                    None => open = false,
                },
                else => return,
            }
        }
    }

    async fn settle(&self, answered: Answered) {
        let Answered { numbers, receipt, span } = answered;
        let actions = span.in_scope(|| match receipt {
            Some(receipt) => self.actions(numbers, &receipt, &span),
            None => self.leave_all(numbers, &span),
        });
        pass_on(&self.completed, actions.completed).await;
        if let Some(sender) = &self.rejected {
            pass_on(sender, actions.rejected).await;
        }
        if let Some(sender) = &self.left {
            pass_on(sender, actions.left).await;
        }
    }

    fn actions(&self, numbers: Vec<DeliveryNumber>, receipt: &Receipt, span: &Span) -> Actions {
        let mut actions = Actions::default();
        actions.completed.reserve(numbers.len());
        let settlements = settlements(receipt, numbers.len());
        for (number, settlement) in numbers.into_iter().zip(settlements) {
            match settlement {
                Settlement::Complete => actions.completed.push(CompletedDelivery::new(number, span.clone())),
                Settlement::Reject(rejection) => self.reject(number, rejection, span, &mut actions),
                Settlement::Leave(why) => actions.left.extend(self.leave(number, &why, span)),
            }
        }
        actions
    }

    /// The one place where a rejection is logged.
    fn reject(&self, number: DeliveryNumber, rejection: Rejection, span: &Span, actions: &mut Actions) {
        let Rejection { reason, detail } = &rejection;
        metrics::counter!(REJECTED, "reason" => *reason).increment(1);
        let bytes = self.in_flight.with(number, |delivery| {
            let message_id = &delivery.message_id;
            telemetry::note_rejection(span, message_id, reason);
            tracing::warn!(target: "veilpost_reader::rejected", message_id, reason, detail, "rejected");
            if self.rejected.is_none() {
                self.known_rejects.add(message_id);
            }
            delivery.bytes()
        });
        let Some(bytes) = bytes else { return };
        if self.rejected.is_none() {
            metrics::counter!(LEFT, "reason" => *reason).increment(1);
            actions.left.extend(self.give_up(number, span));
        } else {
            let span = span.clone();
            actions.rejected.push(RejectedDelivery { number, rejection, bytes, failures: 0, span });
        }
    }

    /// Gives up the delivery, so that the source delivers the message again. In a drain the delivery stays in
    /// flight instead, and is released at the end.
    fn leave(&self, number: DeliveryNumber, why: &Rejection, span: &Span) -> Option<LeftDelivery> {
        if self.lifecycle.is_draining() {
            return None;
        }
        let Rejection { reason, detail } = why;
        metrics::counter!(LEFT, "reason" => *reason).increment(1);
        self.in_flight.with(number, |delivery| {
            let message_id = &delivery.message_id;
            tracing::warn!(message_id, reason, detail, "left in the source: nothing is known to be stored");
        });
        self.give_up(number, span)
    }

    /// Without somebody who leaves deliveries, they are forgotten here.
    fn give_up(&self, number: DeliveryNumber, span: &Span) -> Option<LeftDelivery> {
        if self.left.is_some() {
            return Some(LeftDelivery::new(number, span.clone()));
        }
        if !self.in_flight.remove(&[number]).is_empty() {
            metrics::counter!(SETTLED, "action" => "leave").increment(1);
        }
        None
    }

    /// Leaves every delivery of a batch that the link gave up.
    fn leave_all(&self, numbers: Vec<DeliveryNumber>, span: &Span) -> Actions {
        let why = Rejection { reason: "no-receipt", detail: String::new() };
        let left = numbers.into_iter().filter_map(|number| self.leave(number, &why, span)).collect();
        Actions { left, ..Actions::default() }
    }
}

async fn pass_on<T>(sender: &mpsc::Sender<Vec<T>>, items: Vec<T>) {
    if !items.is_empty() && sender.send(items).await.is_err() {
        tracing::debug!("settling has ended; the rest is released");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Delivery, Window, WindowLimits};
    use futures_util::FutureExt;
    use tokio::time::Instant;
    use veilpost_proto::v1::Outcome;

    /// A settler without a place for rejected messages, one delivery for each outcome, and the batch's
    /// receipt.
    async fn settled(outcomes: &[Outcome], draining: bool) -> (Arc<InFlight<()>>, Arc<KnownRejects>, usize) {
        let window = Window::new(WindowLimits {
            messages: 10,
            bytes: 1000,
            messages_per_receive: 10,
            largest_message_bytes: 10,
        });
        let (in_flight, known_rejects) = (Arc::<InFlight<()>>::default(), Arc::<KnownRejects>::default());
        let mut room = window.reserve().now_or_never().unwrap();
        let numbers = (0..outcomes.len())
            .map(|id| in_flight.insert(Delivery::new(id.to_string(), (), Instant::now(), room.permit(1))))
            .collect();
        let (completed, mut completing) = mpsc::channel(10);
        let lifecycle = Lifecycle::for_tests();
        if draining {
            lifecycle.start_drain();
        }
        let settler = Settler {
            in_flight: Arc::clone(&in_flight),
            completed,
            rejected: None,
            left: None,
            known_rejects: Arc::clone(&known_rejects),
            lifecycle,
        };
        let (reply, receipt) = oneshot::channel();
        let outcomes = outcomes.iter().map(|outcome| u8::try_from(i32::from(*outcome)).unwrap()).collect();
        reply.send(Receipt { batch_id: 1, outcomes, rejections: Vec::new() }).unwrap();
        let (pending, batches) = mpsc::channel(1);
        pending.send(PendingReceipt { numbers, receipt, span: Span::none() }).await.unwrap();
        drop(pending);
        settler.run(batches).await;
        (in_flight, known_rejects, completing.recv().await.map_or(0, |completed| completed.len()))
    }

    fn left(in_flight: &InFlight<()>) -> Vec<String> {
        let mut left = in_flight.pick(|_, delivery| Some(delivery.message_id.clone()));
        left.sort();
        left
    }

    #[tokio::test]
    async fn a_stored_delivery_stays_in_flight_until_it_is_completed_and_the_others_are_given_up() {
        let outcomes = [Outcome::Stored, Outcome::Rejected, Outcome::Unspecified];
        let (in_flight, known_rejects, completed) = settled(&outcomes, false).await;
        assert_eq!((left(&in_flight), completed), (vec!["0".to_owned()], 1));
        assert!(known_rejects.contains("1") && !known_rejects.contains("2"));
    }

    #[tokio::test]
    async fn in_a_drain_a_delivery_without_an_outcome_stays_in_flight_to_be_released() {
        let (in_flight, ..) = settled(&[Outcome::Unspecified], true).await;
        assert_eq!(left(&in_flight), ["0"]);
    }
}
