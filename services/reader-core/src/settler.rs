//! Awaits the receipts of the batches on their way and passes each delivery on to how it is settled.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tracing::Span;
use veilpost_proto::v1::Receipt;
use veilpost_runtime::{Lifecycle, telemetry};

use crate::dead_letter::Casualty;
use crate::delete::Deletion;
use crate::delivery::DeliveryNumber;
use crate::in_flight::InFlight;
use crate::known_rejects::Acquitted;
use crate::settlement::{Rejection, Settlement, settlements};

/// A batch whose receipt is awaited: its deliveries by position.
#[derive(Debug)]
pub(crate) struct Awaited {
    pub(crate) numbers: Vec<DeliveryNumber>,
    pub(crate) receipt: oneshot::Receiver<Receipt>,
    /// The batch's own span, which ends when its last delivery is settled.
    pub(crate) span: Span,
}

impl Awaited {
    async fn answered(self) -> Answered {
        Answered { numbers: self.numbers, receipt: self.receipt.await.ok(), span: self.span }
    }
}

/// A batch with its receipt; none when the link gave it up.
struct Answered {
    numbers: Vec<DeliveryNumber>,
    receipt: Option<Receipt>,
    span: Span,
}

/// What becomes of the deliveries of one batch.
#[derive(Default)]
struct Verdicts {
    deletions: Vec<Deletion>,
    casualties: Vec<Casualty>,
}

#[derive(Debug)]
pub(crate) struct Settler {
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) deletions: mpsc::Sender<Vec<Deletion>>,
    /// Where rejected messages go; `None` leaves them in the queue.
    pub(crate) casualties: Option<mpsc::Sender<Vec<Casualty>>>,
    pub(crate) acquitted: Arc<Acquitted>,
    pub(crate) lifecycle: Lifecycle,
}

impl Settler {
    /// Settles until no more batches come and the last receipt is there. No batch waits for another.
    pub(crate) async fn run(self, mut batches: mpsc::Receiver<Awaited>) {
        let mut pending = FuturesUnordered::new();
        let mut open = true;
        loop {
            tokio::select! {
                Some(answered) = pending.next(), if !pending.is_empty() => self.settle(answered).await,
                more = batches.recv(), if open => match more {
                    Some(batch) => pending.push(batch.answered()),
                    None => open = false,
                },
                else => return,
            }
        }
    }

    async fn settle(&self, answered: Answered) {
        let Answered { numbers, receipt, span } = answered;
        let verdicts = span.in_scope(|| match receipt {
            Some(receipt) => self.judge(numbers, &receipt, &span),
            None => self.unanswered(numbers),
        });
        pass_on(&self.deletions, verdicts.deletions).await;
        if let Some(sender) = &self.casualties {
            pass_on(sender, verdicts.casualties).await;
        }
    }

    fn judge(&self, numbers: Vec<DeliveryNumber>, receipt: &Receipt, span: &Span) -> Verdicts {
        let mut verdicts = Verdicts::default();
        verdicts.deletions.reserve(numbers.len());
        let settlements = settlements(receipt, numbers.len());
        for (number, settlement) in numbers.into_iter().zip(settlements) {
            match settlement {
                Settlement::Delete => verdicts.deletions.push(Deletion::new(number, span.clone())),
                Settlement::Reject(rejection) => {
                    verdicts.casualties.extend(self.reject(number, rejection, span));
                }
                Settlement::Leave => self.leave(number, "nothing is known to be stored"),
            }
        }
        verdicts
    }

    /// The one place where a rejection is logged.
    fn reject(&self, number: DeliveryNumber, rejection: Rejection, span: &Span) -> Option<Casualty> {
        let Rejection { reason, detail } = &rejection;
        metrics::counter!("veilpost_reader_rejected_total", "reason" => *reason).increment(1);
        let bytes = self.in_flight.with(number, |delivery| {
            let message_id = &delivery.message_id;
            telemetry::note_rejection(span, message_id, reason);
            tracing::warn!(target: "veilpost_reader::rejected", message_id, reason, detail, "rejected");
            delivery.size()
        })?;
        if self.casualties.is_none() {
            if let Some(message_id) = self.give_up(number) {
                self.acquitted.add(&message_id);
            }
            return None;
        }
        Some(Casualty { number, rejection, bytes, tries: 0, span: span.clone() })
    }

    /// Lets the message's visibility run out. In a drain it stays in flight instead, and is given back at the end.
    fn leave(&self, number: DeliveryNumber, why: &str) {
        if !self.lifecycle.is_draining()
            && let Some(message_id) = self.give_up(number)
        {
            tracing::warn!(message_id, why, "left in the queue");
        }
    }

    fn give_up(&self, number: DeliveryNumber) -> Option<String> {
        let delivery = self.in_flight.remove(&[number]).pop()?;
        metrics::counter!("veilpost_reader_settled_total", "action" => "leave").increment(1);
        Some(delivery.message_id)
    }

    /// The link gave the batch up.
    fn unanswered(&self, numbers: Vec<DeliveryNumber>) -> Verdicts {
        for number in numbers {
            self.leave(number, "no receipt came");
        }
        Verdicts::default()
    }
}

/// Never waits for long: the channel has room for everything that can be in flight.
async fn pass_on<T>(sender: &mpsc::Sender<Vec<T>>, items: Vec<T>) {
    if !items.is_empty() && sender.send(items).await.is_err() {
        tracing::debug!("settling has ended; the rest is given back");
    }
}
