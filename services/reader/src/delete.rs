//! Deletes what is stored, or safe in the dead-letter queue.

use std::collections::VecDeque;
use std::sync::Arc;

use metrics::gauge;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{Instrument, Span};
use veilpost_runtime::{Lifecycle, telemetry};

use crate::concurrency::Pace;
use crate::delivery::{DeliveryNumber, ReceiptHandle};
use crate::error::Trouble;
use crate::in_flight::InFlight;
use crate::queue::{Answer, MAX_ENTRIES, Queue};
use crate::spans::Settling;
use crate::{call_pool, retry};

/// After so many attempts SQS will not delete this entry; the message comes again, and is a duplicate then.
const MAX_TRIES: u32 = 10;

/// A delivery whose message is to be deleted.
#[derive(Clone, Debug)]
pub(crate) struct Deletion {
    number: DeliveryNumber,
    /// Attempts that failed.
    tries: u32,
    /// The span of its batch.
    span: Span,
}

impl Deletion {
    pub(crate) fn new(number: DeliveryNumber, span: Span) -> Self {
        Self { number, tries: 0, span }
    }
}

#[derive(Debug)]
pub(crate) struct Deleter {
    pub(crate) queue: Queue,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) trouble: Trouble,
    /// Batches that are on their way at once, at most.
    pub(crate) most: usize,
}

impl Deleter {
    /// Deletes what arrives until the channel is closed and everything is deleted, or until the service aborts; what
    /// is not deleted by then is still in flight.
    pub(crate) async fn run(self, arriving: mpsc::Receiver<Vec<Deletion>>, lifecycle: Lifecycle) {
        let (pace, allowed) =
            (Pace::between(1, self.most, Instant::now()), gauge!("veilpost_reader_deletes"));
        let attempt = |batch| self.attempt(batch, &lifecycle);
        call_pool::run(pace, allowed, arriving, batch, attempt, &lifecycle).await;
    }

    /// Gives back what has to be tried again, after a pause.
    async fn attempt(&self, batch: Vec<Deletion>, lifecycle: &Lifecycle) -> Vec<Deletion> {
        let batches = batch.iter().map(|deletion| &deletion.span);
        let settling = Settling::of("delete", &self.queue, batch.len(), batches);
        let again = self.delete(batch).instrument(settling.span.clone()).await;
        if !again.is_empty() {
            telemetry::failed(&settling.span, telemetry::OTHER);
        }
        drop(settling);
        if let Some(tries) = again.iter().map(|deletion| deletion.tries).max() {
            retry::rest(tries, lifecycle).await;
        }
        again
    }

    async fn delete(&self, batch: Vec<Deletion>) -> Vec<Deletion> {
        let held = batch.into_iter().filter_map(|deletion| {
            let handle = self.handle(deletion.number)?;
            Some((deletion, handle))
        });
        let (batch, handles): (Vec<_>, Vec<_>) = held.unzip();
        if batch.is_empty() {
            return batch;
        }
        match self.queue.delete(handles).await {
            Ok(answers) => {
                self.trouble.over();
                self.sort(batch, answers)
            }
            Err(problem) => {
                self.trouble.met(&problem);
                batch.into_iter().map(Deletion::failed).collect()
            }
        }
    }

    fn handle(&self, number: DeliveryNumber) -> Option<ReceiptHandle> {
        self.in_flight.with(number, |delivery| delivery.handle.clone())
    }

    /// Ends what is deleted or past help; gives back the rest.
    fn sort(&self, batch: Vec<Deletion>, answers: Vec<Answer>) -> Vec<Deletion> {
        let (mut over, mut again) = (Vec::with_capacity(batch.len()), Vec::new());
        let mut deleted = 0;
        for (deletion, answer) in batch.into_iter().zip(answers) {
            match answer {
                Ok(()) => {
                    deleted += 1;
                    over.push(deletion.number);
                }
                Err(refusal) if refusal.sender_fault || deletion.tries + 1 >= MAX_TRIES => {
                    self.give_up(deletion.number, &refusal.code);
                    over.push(deletion.number);
                }
                Err(_) => again.push(deletion.failed()),
            }
        }
        drop(self.in_flight.remove(&over));
        metrics::counter!("veilpost_reader_settled_total", "action" => "delete").increment(deleted);
        again
    }

    fn give_up(&self, number: DeliveryNumber, code: &str) {
        metrics::counter!("veilpost_reader_deletes_given_up_total").increment(1);
        let message_id = self.in_flight.with(number, |delivery| delivery.message_id.clone());
        tracing::warn!(message_id, code, "not deleted; if the message comes again it is a duplicate");
    }
}

impl Deletion {
    fn failed(self) -> Self {
        Self { tries: self.tries + 1, ..self }
    }
}

fn batch(waiting: &mut VecDeque<Deletion>) -> Vec<Deletion> {
    waiting.drain(..waiting.len().min(MAX_ENTRIES)).collect()
}
