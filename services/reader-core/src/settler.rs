//! Awaits the receipts of batches and passes each delivery on to how it is settled.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tracing::Span;
use veilpost_proto::v1::{RawRecord, Reason, Receipt};
use veilpost_runtime::{Lifecycle, telemetry};

use crate::actions::{CompletedDelivery, LeftDelivery, RejectedDelivery};
use crate::delivery::DeliveryNumber;
use crate::in_flight::InFlight;
use crate::known_rejects::KnownRejects;
use crate::last_receive::{LastReceives, Undecided};
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

/// What is known of a record of which nothing more is known, when the source does not deliver it again.
const NOTHING_KNOWN: &str = "nothing is known of it, not even that it is not stored";

/// What is to be done with the deliveries of one batch.
#[derive(Default)]
struct Actions {
    completed: Vec<CompletedDelivery>,
    rejected: Vec<RejectedDelivery>,
    left: Vec<LeftDelivery>,
    again: Vec<(DeliveryNumber, RawRecord)>,
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
    /// Decides about what is left, where the source delivers a message only so often; `None` when it always
    /// delivers it again.
    pub last_receives: Option<Arc<LastReceives<M>>>,
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
        if let Some(last_receives) = &self.last_receives {
            last_receives.send_again(actions.again, &span).await;
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
                Settlement::Leave(why) => self.leave(number, why, span, &mut actions),
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

    /// Gives up the delivery, so that the source delivers the message again. If the source does not, the
    /// message is sent again with that knowledge, and rejected if that changes nothing. In a drain the
    /// delivery stays in flight instead, and is released at the end.
    fn leave(&self, number: DeliveryNumber, why: Rejection, span: &Span, actions: &mut Actions) {
        if self.lifecycle.is_draining() {
            return;
        }
        match self.undecided(number) {
            Undecided::ComesAgain => {
                self.note_left(number, &why);
                actions.left.extend(self.give_up(number, span));
            }
            Undecided::SendAgain(record) => {
                let message_id = &record.message_id;
                tracing::warn!(
                    message_id,
                    "undecided, and its last receive came meanwhile; sent again as the last"
                );
                actions.again.push((number, record));
            }
            Undecided::IsLost => {
                let detail = if why.detail.is_empty() { NOTHING_KNOWN.to_owned() } else { why.detail };
                let rejection = Rejection { reason: Reason::Undecided.name(), detail };
                self.reject(number, rejection, span, actions);
            }
        }
    }

    fn undecided(&self, number: DeliveryNumber) -> Undecided {
        let judged = self
            .last_receives
            .as_ref()
            .and_then(|last_receives| self.in_flight.with(number, |delivery| last_receives.judge(delivery)));
        judged.unwrap_or(Undecided::ComesAgain)
    }

    fn note_left(&self, number: DeliveryNumber, why: &Rejection) {
        let Rejection { reason, detail } = why;
        metrics::counter!(LEFT, "reason" => *reason).increment(1);
        self.in_flight.with(number, |delivery| {
            let message_id = &delivery.message_id;
            tracing::warn!(message_id, reason, detail, "left in the source: nothing is known to be stored");
        });
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
        let mut actions = Actions::default();
        for number in numbers {
            self.leave(number, why.clone(), span, &mut actions);
        }
        actions
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
    use crate::{Arrival, Delivery, Window, WindowLimits};
    use futures_util::FutureExt;
    use tokio::time::Instant;
    use veilpost_proto::v1::Outcome;

    /// What came of a batch.
    struct Settled {
        in_flight: Arc<InFlight<()>>,
        known_rejects: Arc<KnownRejects>,
        completed: usize,
        rejected: Vec<RejectedDelivery>,
        again: Vec<Arrival>,
    }

    /// How the settler is set up.
    #[derive(Default)]
    struct Setup {
        draining: bool,
        takes_rejected: bool,
        judge: Option<fn(&Delivery<()>) -> Undecided>,
    }

    /// Settles one delivery for each outcome, with ids from 0 on. Without `outcomes` the link gives up the
    /// batch of one delivery.
    async fn settled(outcomes: Option<&[Outcome]>, setup: Setup) -> Settled {
        let window = Window::new(WindowLimits {
            messages: 10,
            bytes: 1000,
            messages_per_receive: 10,
            largest_message_bytes: 10,
        });
        let (in_flight, known_rejects) = (Arc::<InFlight<()>>::default(), Arc::<KnownRejects>::default());
        let mut room = window.reserve().now_or_never().unwrap();
        let numbers = (0..outcomes.map_or(1, <[_]>::len))
            .map(|id| in_flight.insert(Delivery::new(id.to_string(), (), Instant::now(), room.permit(1))))
            .collect();
        let (completed, mut completing) = mpsc::channel(10);
        let (rejected, mut rejecting) = mpsc::channel(10);
        let (arrivals, mut arriving) = mpsc::channel(10);
        let lifecycle = Lifecycle::for_tests();
        if setup.draining {
            lifecycle.start_drain();
        }
        let settler = Settler {
            in_flight: Arc::clone(&in_flight),
            completed,
            rejected: setup.takes_rejected.then_some(rejected),
            left: None,
            known_rejects: Arc::clone(&known_rejects),
            last_receives: setup.judge.map(|judge| Arc::new(LastReceives::new(&arrivals, judge))),
            lifecycle,
        };
        let (reply, receipt) = oneshot::channel();
        if let Some(outcomes) = outcomes {
            let outcomes =
                outcomes.iter().map(|outcome| u8::try_from(i32::from(*outcome)).unwrap()).collect();
            reply.send(Receipt { batch_id: 1, outcomes, rejections: Vec::new() }).unwrap();
        } else {
            drop(reply);
        }
        let (pending, batches) = mpsc::channel(1);
        pending.send(PendingReceipt { numbers, receipt, span: Span::none() }).await.unwrap();
        drop(pending);
        settler.run(batches).await;
        Settled {
            in_flight,
            known_rejects,
            completed: completing.recv().await.map_or(0, |completed| completed.len()),
            rejected: rejecting.try_recv().unwrap_or_default(),
            again: arriving.try_recv().unwrap_or_default(),
        }
    }

    fn held(settled: &Settled) -> Vec<String> {
        let mut held = settled.in_flight.pick(|_, delivery| Some(delivery.message_id.clone()));
        held.sort();
        held
    }

    #[tokio::test]
    async fn a_stored_delivery_stays_in_flight_until_it_is_completed_and_the_others_are_given_up() {
        let outcomes = [Outcome::Stored, Outcome::Rejected, Outcome::Unspecified];
        let settled = settled(Some(&outcomes), Setup::default()).await;
        assert_eq!((held(&settled), settled.completed), (vec!["0".to_owned()], 1));
        assert!(settled.known_rejects.contains("1") && !settled.known_rejects.contains("2"));
    }

    #[tokio::test]
    async fn in_a_drain_a_delivery_without_an_outcome_stays_in_flight_to_be_released() {
        let is_lost: fn(&Delivery<()>) -> Undecided = |_| Undecided::IsLost;
        for judge in [None, Some(is_lost)] {
            let setup = Setup { draining: true, takes_rejected: true, judge };
            let settled = settled(Some(&[Outcome::Unspecified]), setup).await;
            assert_eq!((held(&settled), settled.rejected.len()), (vec!["0".to_owned()], 0));
        }
    }

    /// The first is lost, the second is sent again, the third comes again.
    fn by_id(delivery: &Delivery<()>) -> Undecided {
        match delivery.message_id.as_str() {
            "0" => Undecided::IsLost,
            "1" => Undecided::SendAgain(RawRecord { last_receive: true, ..RawRecord::default() }),
            _ => Undecided::ComesAgain,
        }
    }

    #[tokio::test]
    async fn what_is_undecided_and_comes_no_more_is_sent_again_or_rejected() {
        let setup = || Setup { takes_rejected: true, judge: Some(by_id), ..Setup::default() };
        let settled = settled(Some(&[Outcome::Unspecified; 3]), setup()).await;
        assert_eq!(held(&settled), ["0", "1"], "both wait for what becomes of them");
        let rejected: Vec<_> =
            settled.rejected.iter().map(|one| (one.number, one.rejection.reason)).collect();
        assert_eq!(rejected, [(DeliveryNumber::new(0), "undecided")]);
        let again: Vec<_> = settled.again.iter().map(|one| (one.number, one.record.last_receive)).collect();
        assert_eq!(again, [(DeliveryNumber::new(1), true)]);
    }

    #[tokio::test]
    async fn what_the_link_gave_up_and_comes_no_more_is_rejected_too() {
        let setup = Setup { takes_rejected: true, judge: Some(|_| Undecided::IsLost), ..Setup::default() };
        let settled = settled(None, setup).await;
        assert_eq!((settled.rejected.len(), held(&settled)), (1, vec!["0".to_owned()]));
        assert_eq!(settled.rejected[0].rejection.detail, NOTHING_KNOWN);
    }
}
