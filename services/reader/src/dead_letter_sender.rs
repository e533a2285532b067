//! Sends rejected messages to the dead-letter queue, then has them deleted.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;
use veilpost_reader_core::metrics::{LEFT, SETTLED};
use veilpost_reader_core::spans::SettleSpan;
use veilpost_reader_core::{
    CallPool, CompletedDelivery, KnownRejects, LeftDelivery, RejectedDelivery, pause_before_retry,
};
use veilpost_runtime::{Lifecycle, numbers};
use veilpost_sqs::SqsError;

use crate::dead_letter_message::DeadLetterMessage;
use crate::limits::{MAX_ENTRIES, MAX_SEND_BATCH_BYTES};
use crate::max_receives::MaxReceives;
use crate::message::SqsInFlight;
use crate::outage::CallOutage;
use crate::queue::Queue;

/// How many calls are under way at once.
const CALLS: usize = 8;

/// A message is given up for now after this many failed attempts: it is left, comes again and is rejected
/// again. What cannot be sent must not hold the window for ever.
const MAX_ATTEMPTS: u32 = 12;

/// About the most bytes that our attributes add to a message, for filling batches.
const OUR_BYTES: usize = 1024;

#[derive(Debug)]
pub(crate) struct DeadLetterSender {
    /// The dead-letter queue.
    pub(crate) queue: Queue,
    /// The largest message that the dead-letter queue takes, in bytes.
    pub(crate) max_message_bytes: usize,
    pub(crate) in_flight: Arc<SqsInFlight>,
    pub(crate) outage: CallOutage,
    /// Where a delivery goes once its copy is in the dead-letter queue.
    pub(crate) completed: mpsc::Sender<Vec<CompletedDelivery>>,
    /// Where a delivery goes whose copy the dead-letter queue does not take.
    pub(crate) left: mpsc::Sender<Vec<LeftDelivery>>,
    pub(crate) known_rejects: Arc<KnownRejects>,
    pub(crate) max_receives: MaxReceives,
}

impl DeadLetterSender {
    /// Sends what arrives until the channel is closed and everything is sent, or until the service aborts.
    /// What is not sent by then is still in flight.
    pub(crate) async fn run(self, arriving: mpsc::Receiver<Vec<RejectedDelivery>>, lifecycle: Lifecycle) {
        let pool = CallPool::fixed(CALLS, MAX_ENTRIES, &lifecycle);
        pool.run(arriving, take_batch, |batch| self.attempt(batch, &lifecycle)).await;
    }

    /// Returns the deliveries that need another attempt, after a pause.
    async fn attempt(&self, batch: Vec<RejectedDelivery>, lifecycle: &Lifecycle) -> Vec<RejectedDelivery> {
        let batches = batch.iter().map(|delivery| &delivery.span);
        let span = SettleSpan::new("send", self.queue.destination(), batch.len(), batches);
        let again = span.settle(self.send(batch)).await;
        pause_before_retry(again.iter().map(|delivery| delivery.failures), lifecycle).await;
        again
    }

    async fn send(&self, batch: Vec<RejectedDelivery>) -> Vec<RejectedDelivery> {
        let mut messages: Vec<_> =
            batch.into_iter().filter_map(|delivery| Some((self.message(&delivery)?, delivery))).collect();
        if messages.len() > 1 {
            return self.send_together(messages).await;
        }
        match messages.pop() {
            Some((message, delivery)) => self.send_alone(message, delivery).await.into_iter().collect(),
            None => Vec::new(),
        }
    }

    async fn send_together(
        &self,
        messages: Vec<(DeadLetterMessage, RejectedDelivery)>,
    ) -> Vec<RejectedDelivery> {
        let (messages, deliveries): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
        let results = match self.queue.send_batch(messages).await {
            Ok(results) => results,
            Err(problem) => {
                self.outage.failed(&problem);
                return deliveries.into_iter().map(RejectedDelivery::failed).collect();
            }
        };
        self.outage.succeeded();
        let (sent, refused): (Vec<_>, Vec<_>) =
            deliveries.into_iter().zip(results).partition(|(_, result)| result.is_ok());
        self.sent(sent.into_iter().map(|(delivery, _)| delivery)).await;
        refused.into_iter().map(|(delivery, _)| delivery.failed()).collect()
    }

    async fn send_alone(
        &self,
        message: DeadLetterMessage,
        delivery: RejectedDelivery,
    ) -> Option<RejectedDelivery> {
        match self.queue.send(message).await {
            Ok(()) => {
                self.outage.succeeded();
                self.sent(std::iter::once(delivery)).await;
                None
            }
            Err(problem) if problem.blames_message() || self.is_given_up(&delivery) => {
                self.leave(&delivery, &problem).await;
                None
            }
            Err(problem) => {
                self.outage.failed(&problem);
                Some(delivery.failed())
            }
        }
    }

    /// `None` when the delivery is settled already.
    fn message(&self, rejected: &RejectedDelivery) -> Option<DeadLetterMessage> {
        self.in_flight.with(rejected.number, |delivery| {
            let (message, dropped) =
                DeadLetterMessage::new(delivery, &rejected.rejection, self.max_message_bytes);
            if rejected.failures == 0 && !dropped.is_empty() {
                let message_id = &delivery.message_id;
                tracing::warn!(message_id, attributes = ?dropped, "dropped these attributes: the message would be too large");
            }
            message
        })
    }

    async fn sent(&self, deliveries: impl Iterator<Item = RejectedDelivery>) {
        let completed: Vec<_> =
            deliveries.map(|delivery| CompletedDelivery::new(delivery.number, delivery.span)).collect();
        metrics::counter!(SETTLED, "action" => "dead-letter").increment(numbers::to_u64(completed.len()));
        if self.completed.send(completed).await.is_err() {
            tracing::debug!("deletes have ended; the rest is released");
        }
    }

    /// At its last receive a message is never given up: SQS would move it, and the reason would be lost.
    fn is_given_up(&self, rejected: &RejectedDelivery) -> bool {
        let receives = self.in_flight.with(rejected.number, |delivery| delivery.message.receive_count);
        rejected.failures + 1 >= MAX_ATTEMPTS && !self.max_receives.is_last(receives.unwrap_or_default())
    }

    async fn leave(&self, rejected: &RejectedDelivery, problem: &SqsError) {
        self.in_flight.with(rejected.number, |delivery| {
            let message_id = &delivery.message_id;
            self.known_rejects.add(message_id);
            tracing::error!(
                message_id,
                reason = rejected.rejection.reason,
                %problem,
                "the dead-letter queue refuses this message; it stays in the source queue"
            );
        });
        metrics::counter!(LEFT, "reason" => "not-dead-lettered").increment(1);
        let left = LeftDelivery::new(rejected.number, rejected.span.clone());
        if self.left.send(vec![left]).await.is_err() {
            tracing::debug!("leaving has ended; the rest is released");
        }
    }
}

/// Takes as many deliveries as fit into one call. One that has failed before goes alone: it may be why the
/// call failed. So does one that is too large, because a call that sends a single message has no limit of its
/// own.
fn take_batch(waiting: &mut VecDeque<RejectedDelivery>) -> Vec<RejectedDelivery> {
    let mut batch: Vec<RejectedDelivery> = waiting.pop_front().into_iter().collect();
    if batch.iter().any(|first| first.failures > 0) {
        return batch;
    }
    let mut bytes = batch.iter().map(message_bytes).sum::<usize>();
    while let Some(next) = waiting.front() {
        bytes += message_bytes(next);
        if next.failures > 0 || batch.len() >= MAX_ENTRIES || bytes > MAX_SEND_BATCH_BYTES {
            break;
        }
        batch.extend(waiting.pop_front());
    }
    batch
}

fn message_bytes(delivery: &RejectedDelivery) -> usize {
    delivery.bytes + OUR_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::testing::delivered;
    use aws_sdk_sqs::types::Message;
    use proptest::prelude::*;
    use tracing::Span;
    use veilpost_reader_core::{DeliveryNumber, Rejection};

    fn rejected((bytes, failures): (usize, u32)) -> RejectedDelivery {
        let rejection = Rejection { reason: "not-json", detail: String::new() };
        RejectedDelivery { number: DeliveryNumber::new(0), rejection, bytes, failures, span: Span::none() }
    }

    fn sender(left: mpsc::Sender<Vec<LeftDelivery>>) -> DeadLetterSender {
        DeadLetterSender {
            queue: Queue::unreachable(),
            max_message_bytes: 1000,
            in_flight: Arc::default(),
            outage: CallOutage::new("send", "q"),
            completed: mpsc::channel(1).0,
            left,
            known_rejects: Arc::default(),
            max_receives: MaxReceives::default(),
        }
    }

    #[tokio::test]
    async fn a_message_that_cannot_be_sent_for_long_is_left_unless_it_is_its_last_receive() {
        let message = Message::builder().message_id("m").receipt_handle("h").body("b").build();
        let (left, mut leaving) = mpsc::channel(1);
        let sender = sender(left);
        let number = sender.in_flight.insert(delivered(message));
        let failed = |failures| RejectedDelivery { number, ..rejected((1, failures)) };
        let again = sender.send(vec![failed(MAX_ATTEMPTS - 2)]).await;
        assert_eq!(again.first().map(|delivery| delivery.failures), Some(MAX_ATTEMPTS - 1));
        sender.max_receives.set(Some(1));
        sender.in_flight.with(number, |delivery| delivery.message.receive_count = 1);
        let again = sender.send(again).await;
        assert_eq!(again.len(), 1, "SQS would move it");
        sender.max_receives.set(Some(2));
        assert!(sender.send(again).await.is_empty());
        assert_eq!(leaving.try_recv().unwrap()[0].number, number);
        assert!(sender.known_rejects.contains("m"), "it comes again, and is no suspect");
    }

    proptest! {
        #[test]
        fn batches_keep_the_limits_and_the_order_and_lose_nothing(sizes in prop::collection::vec((0usize..300_000, 0u32..2), 0..40)) {
            let mut waiting: VecDeque<_> = sizes.iter().copied().map(rejected).collect();
            let mut seen = Vec::new();
            while !waiting.is_empty() {
                let batch = take_batch(&mut waiting);
                prop_assert!(!batch.is_empty() && batch.len() <= MAX_ENTRIES);
                if batch.len() > 1 {
                    prop_assert!(batch.iter().map(message_bytes).sum::<usize>() <= MAX_SEND_BATCH_BYTES);
                    prop_assert!(batch.iter().all(|delivery| delivery.failures == 0));
                }
                seen.extend(batch.into_iter().map(|delivery| (delivery.bytes, delivery.failures)));
            }
            prop_assert_eq!(seen, sizes);
        }
    }
}
