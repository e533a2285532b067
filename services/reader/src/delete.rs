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

use crate::entries::EntryResult;
use crate::limits::MAX_ENTRIES;
use crate::message::SqsInFlight;
use crate::metrics::{DELETES, DELETES_GIVEN_UP};
use crate::outage::CallOutage;
use crate::queue::Queue;
use crate::receipt_handle::ReceiptHandle;

/// A message is given up after this many failed attempts. When it comes again it is a duplicate.
const MAX_ATTEMPTS: u32 = 10;

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
        pool.run(arriving, batch, |batch| self.attempt(batch, &lifecycle)).await;
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
        let (batch, handles): (Vec<_>, Vec<_>) = held.unzip();
        if batch.is_empty() {
            return batch;
        }
        match self.queue.delete(handles).await {
            Ok(results) => {
                self.outage.succeeded();
                self.sort(batch, results)
            }
            Err(problem) => {
                self.outage.failed(&problem);
                batch.into_iter().map(CompletedDelivery::failed).collect()
            }
        }
    }

    fn handle(&self, number: DeliveryNumber) -> Option<ReceiptHandle> {
        self.in_flight.with(number, |delivery| delivery.message.handle.clone())
    }

    /// Removes the deliveries that are deleted or given up; returns the others.
    fn sort(&self, batch: Vec<CompletedDelivery>, results: Vec<EntryResult>) -> Vec<CompletedDelivery> {
        let (mut done, mut again) = (Vec::with_capacity(batch.len()), Vec::new());
        let mut deleted = 0;
        for (delivery, result) in batch.into_iter().zip(results) {
            match result {
                Ok(()) => {
                    deleted += 1;
                    done.push(delivery.number);
                }
                Err(refusal) if refusal.sender_fault || delivery.failures + 1 >= MAX_ATTEMPTS => {
                    self.give_up(delivery.number, &refusal.code);
                    done.push(delivery.number);
                }
                Err(_) => again.push(delivery.failed()),
            }
        }
        drop(self.in_flight.remove(&done));
        metrics::counter!(SETTLED, "action" => "delete").increment(deleted);
        again
    }

    fn give_up(&self, number: DeliveryNumber, code: &str) {
        metrics::counter!(DELETES_GIVEN_UP).increment(1);
        let message_id = self.in_flight.with(number, |delivery| delivery.message_id.clone());
        tracing::warn!(message_id, code, "not deleted; if the message comes again it is a duplicate");
    }
}

fn batch(waiting: &mut VecDeque<CompletedDelivery>) -> Vec<CompletedDelivery> {
    waiting.drain(..waiting.len().min(MAX_ENTRIES)).collect()
}
