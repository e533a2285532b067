//! Deletes messages whose rows are durable, or whose copies are in the dead-letter queue.

use std::collections::VecDeque;
use std::sync::Arc;

use metrics::gauge;
use tokio::sync::mpsc;
use tokio::time::Instant;
use veilpost_reader_core::metrics::SETTLED;
use veilpost_reader_core::spans::SettleSpan;
use veilpost_reader_core::{
    AdaptiveConcurrency, CallPool, CompletedDelivery, DeliveryNumber, pause_before_retry,
};
use veilpost_runtime::Lifecycle;
use veilpost_sqs::Call;

use crate::entries::EntryResult;
use crate::limits::MAX_ENTRIES;
use crate::message::SqsInFlight;
use crate::metrics::{DELETES, DELETES_GIVEN_UP};
use crate::outage::CallOutage;
use crate::queue::Queue;
use crate::receipt_handle::ReceiptHandle;

/// A delivery to be deleted, and the handle to delete it by.
type Deletion = (CompletedDelivery, ReceiptHandle);

#[derive(Debug)]
pub(crate) struct Deleter {
    pub(crate) queue: Queue,
    pub(crate) in_flight: Arc<SqsInFlight>,
    pub(crate) outage: CallOutage,
    /// The most calls under way at once.
    pub(crate) max_calls: usize,
}

impl Deleter {
    /// Deletes what arrives until the channel is closed and everything is deleted, or until the service
    /// aborts. What is not deleted by then is still in flight.
    pub(crate) async fn run(self, arriving: mpsc::Receiver<Vec<CompletedDelivery>>, lifecycle: Lifecycle) {
        let pool = CallPool {
            concurrency: AdaptiveConcurrency::between(1, self.max_calls, Instant::now()),
            allowed: gauge!(DELETES),
            call_items: MAX_ENTRIES,
            lifecycle: &lifecycle,
        };
        pool.run(arriving, take_batch, |batch| self.attempt(batch, &lifecycle)).await;
    }

    /// Returns the deliveries that need another attempt, after a pause.
    async fn attempt(&self, batch: Vec<CompletedDelivery>, lifecycle: &Lifecycle) -> Vec<CompletedDelivery> {
        let batches = batch.iter().map(|delivery| &delivery.span);
        let span = SettleSpan::new("delete", self.queue.destination(), batch.len(), batches);
        let again = span.settle(self.delete(batch)).await;
        pause_before_retry(again.iter().map(|delivery| delivery.failures), lifecycle).await;
        again
    }

    async fn delete(&self, batch: Vec<CompletedDelivery>) -> Vec<CompletedDelivery> {
        let held = batch.into_iter().filter_map(|delivery| {
            let handle = self.handle(delivery.number)?;
            Some((delivery, handle))
        });
        let batch: Vec<_> = held.collect();
        if batch.is_empty() {
            return Vec::new();
        }
        match self.queue.delete(batch.iter().map(|(_, handle)| handle.clone()).collect()).await {
            Ok(results) => self.handle_results(batch, results),
            Err(problem) => {
                self.outage.failed(&problem);
                batch.into_iter().map(|(delivery, _)| delivery.failed()).collect()
            }
        }
    }

    fn handle(&self, number: DeliveryNumber) -> Option<ReceiptHandle> {
        self.in_flight.with(number, |delivery| delivery.message.handle.clone())
    }

    /// Removes the deliveries that are deleted or given up; returns the others.
    ///
    /// A result counts only for the handle that was sent. SQS may accept the handle of an older receive and
    /// delete nothing, so a message that was received again meanwhile is deleted once more.
    pub(crate) fn handle_results(
        &self,
        batch: Vec<Deletion>,
        results: Vec<EntryResult>,
    ) -> Vec<CompletedDelivery> {
        let (mut again, mut works, mut deleted) = (Vec::new(), true, 0);
        for ((delivery, handle), result) in batch.into_iter().zip(results) {
            match result {
                Ok(()) if self.remove(delivery.number, &handle).is_some() => deleted += 1,
                Err(refusal) if refusal.blames_handle() => match self.remove(delivery.number, &handle) {
                    Some(message_id) => give_up(&message_id, &refusal.code),
                    None => again.push(delivery),
                },
                Err(refusal) => {
                    self.outage.failed(&refusal.problem(Call::Delete));
                    works = false;
                    again.push(delivery.failed());
                }
                Ok(()) => again.push(delivery),
            }
        }
        if works {
            self.outage.succeeded();
        }
        metrics::counter!(SETTLED, "action" => "delete").increment(deleted);
        again
    }

    /// The id of the message; `None` when it is settled already, or has another handle by now.
    fn remove(&self, number: DeliveryNumber, handle: &ReceiptHandle) -> Option<String> {
        let removed = self.in_flight.remove_if(&[number], |delivery| delivery.message.handle == *handle);
        removed.into_iter().next().map(|delivery| delivery.message_id)
    }
}

fn give_up(message_id: &str, code: &str) {
    metrics::counter!(DELETES_GIVEN_UP).increment(1);
    tracing::warn!(message_id, code, "not deleted; if the message comes again it is a duplicate");
}

fn take_batch(waiting: &mut VecDeque<CompletedDelivery>) -> Vec<CompletedDelivery> {
    waiting.drain(..waiting.len().min(MAX_ENTRIES)).collect()
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    pub(crate) fn deleter(in_flight: Arc<SqsInFlight>) -> Deleter {
        Deleter {
            queue: Queue::unreachable(),
            in_flight,
            outage: CallOutage::new("delete", "q"),
            max_calls: 1,
        }
    }
}
