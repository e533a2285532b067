//! Leaves messages in the queue: each stays hidden for a time that grows with its receives.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use veilpost_reader_core::metrics::SETTLED;
use veilpost_reader_core::{
    CallPool, DeliveryNumber, LastReceives, LeftDelivery, Undecided, pause_before_retry,
};
use veilpost_runtime::Lifecycle;

use crate::limits::{MAX_ENTRIES, MAX_VISIBILITY};
use crate::max_receives::MaxReceives;
use crate::message::{SqsInFlight, SqsMessage};
use crate::metrics::LAST_RECEIVES_LEFT;
use crate::outage::CallOutage;
use crate::queue::Queue;
use crate::receipt_handle::ReceiptHandle;

/// How many calls are under way at once.
const CALLS: usize = 8;

/// A message whose time could not be set after this many attempts comes again when its visibility timeout
/// ends.
const MAX_ATTEMPTS: u32 = 3;

/// The longest time that a message is left for, unless its visibility timeout is longer.
const LONGEST: Duration = Duration::from_mins(15);

#[derive(Debug)]
pub(crate) struct Leaver {
    pub(crate) queue: Queue,
    pub(crate) in_flight: Arc<SqsInFlight>,
    pub(crate) outage: CallOutage,
    pub(crate) visibility: Duration,
    pub(crate) max_receives: MaxReceives,
    pub(crate) last_receives: Arc<LastReceives<SqsMessage>>,
}

/// A delivery to be left, its handle, and for how long.
type Leave = (LeftDelivery, ReceiptHandle, Duration);

impl Leaver {
    /// Leaves what arrives until the channel is closed and everything is left, or until the service aborts.
    /// What is not left by then is still in flight.
    pub(crate) async fn run(self, arriving: mpsc::Receiver<Vec<LeftDelivery>>, lifecycle: Lifecycle) {
        let pool = CallPool::fixed(CALLS, MAX_ENTRIES, &lifecycle);
        pool.run(arriving, take_batch, |batch| self.attempt(batch, &lifecycle)).await;
    }

    /// Returns the deliveries that need another attempt, after a pause.
    async fn attempt(&self, batch: Vec<LeftDelivery>, lifecycle: &Lifecycle) -> Vec<LeftDelivery> {
        let batch = self.send_last_again(batch).await;
        let again = self.leave(batch).await;
        pause_before_retry(again.iter().map(|delivery| delivery.failures), lifecycle).await;
        again
    }

    /// Takes out what was received for the last time after it was to be left: that changes what is to become
    /// of it.
    async fn send_last_again(&self, batch: Vec<LeftDelivery>) -> Vec<LeftDelivery> {
        let mut rest = Vec::with_capacity(batch.len());
        for left in batch {
            let judged = self.in_flight.with(left.number, |delivery| self.last_receives.judge(delivery));
            match judged {
                Some(Undecided::SendAgain(record)) => {
                    self.last_receives.send_again(vec![(left.number, record)], &left.span).await;
                }
                _ => rest.push(left),
            }
        }
        rest
    }

    async fn leave(&self, batch: Vec<LeftDelivery>) -> Vec<LeftDelivery> {
        let held = batch.into_iter().filter_map(|delivery| {
            let look = |held: &mut crate::message::SqsDelivery| {
                (held.message.handle.clone(), time_hidden(held.message.receive_count, self.visibility))
            };
            let (handle, time) = self.in_flight.with(delivery.number, look)?;
            Some((delivery, handle, time))
        });
        let batch: Vec<Leave> = held.collect();
        if batch.is_empty() {
            return Vec::new();
        }
        let entries: Vec<_> = batch.iter().map(|(_, handle, time)| (handle.clone(), *time)).collect();
        let answer = self.queue.change_visibility(&entries).await;
        match &answer {
            Ok(_) => self.outage.succeeded(),
            Err(problem) => self.outage.failed(problem),
        }
        let is_final = |delivery: &LeftDelivery| answer.is_ok() || delivery.failures + 1 >= MAX_ATTEMPTS;
        let (left, again): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|(delivery, ..)| is_final(delivery));
        let left = left.into_iter().filter_map(|leave| self.remove(leave));
        left.chain(again.into_iter().map(|(delivery, ..)| delivery.failed())).collect()
    }

    /// Returns the delivery when the message has been received again meanwhile: the newest handle counts.
    fn remove(&self, (left, handle, _): Leave) -> Option<LeftDelivery> {
        let is_same = |message: &SqsMessage| message.handle == handle;
        let removed = self.in_flight.remove_if(&[left.number], |delivery| is_same(&delivery.message));
        let Some(delivery) = removed.into_iter().next() else {
            return self.is_in_flight(left.number).then_some(left);
        };
        metrics::counter!(SETTLED, "action" => "leave").increment(1);
        if self.max_receives.is_last(delivery.message.receive_count) {
            metrics::counter!(LAST_RECEIVES_LEFT).increment(1);
            tracing::error!(
                message_id = delivery.message_id,
                receives = delivery.message.receive_count,
                "left at its last receive: SQS moves it to the dead-letter queue, without a reason"
            );
        }
        None
    }

    fn is_in_flight(&self, number: DeliveryNumber) -> bool {
        self.in_flight.with(number, |_| ()).is_some()
    }
}

/// For how long a message is left after this many receives, in whole seconds: half a visibility timeout after
/// the first, twice as long after each further one. What cannot be decided for now must not use up its
/// receives within seconds.
fn time_hidden(receive_count: u32, visibility: Duration) -> Duration {
    let doublings = receive_count.saturating_sub(1).min(30);
    let time = (visibility / 2).saturating_mul(1 << doublings).min(LONGEST.max(visibility / 2));
    Duration::from_secs(time.min(MAX_VISIBILITY).as_secs().max(1))
}

fn take_batch(waiting: &mut VecDeque<LeftDelivery>) -> Vec<LeftDelivery> {
    waiting.drain(..waiting.len().min(MAX_ENTRIES)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::testing::delivered;
    use aws_sdk_sqs::types::Message;
    use tracing::Span;

    #[test]
    fn ten_receives_take_more_than_an_hour_and_none_waits_longer_than_a_quarter_of_one() {
        let times: Vec<_> = (1..=9).map(|count| time_hidden(count, Duration::from_mins(1))).collect();
        assert!(
            times.is_sorted() && times[0] == Duration::from_secs(30) && times[1] == Duration::from_mins(1)
        );
        assert!(times.iter().sum::<Duration>() > Duration::from_hours(1));
        assert_eq!(times[8], LONGEST);
        assert_eq!(time_hidden(0, Duration::from_secs(2)), Duration::from_secs(1));
        assert_eq!(time_hidden(u32::MAX, MAX_VISIBILITY), MAX_VISIBILITY / 2);
    }

    fn leaver(in_flight: &Arc<SqsInFlight>, last_receives: LastReceives<SqsMessage>) -> Leaver {
        Leaver {
            queue: Queue::unreachable(),
            in_flight: Arc::clone(in_flight),
            outage: CallOutage::new("leave", "q"),
            visibility: Duration::from_mins(1),
            max_receives: MaxReceives::default(),
            last_receives: Arc::new(last_receives),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_cannot_be_hidden_for_longer_is_left_all_the_same() {
        let in_flight = Arc::<SqsInFlight>::default();
        let message = Message::builder().message_id("m").receipt_handle("h").build();
        let number = in_flight.insert(delivered(message));
        let leaver = leaver(&in_flight, LastReceives::new(&mpsc::channel(1).0, |_| Undecided::ComesAgain));
        let mut left = vec![LeftDelivery::new(number, Span::none())];
        for _ in 1..MAX_ATTEMPTS {
            left = leaver.leave(left).await;
            assert_eq!((left.len(), in_flight.len()), (1, 1));
        }
        assert!(leaver.leave(left).await.is_empty() && in_flight.is_empty());
    }

    #[tokio::test]
    async fn what_is_received_for_the_last_time_while_it_is_to_be_left_is_sent_again() {
        let in_flight = Arc::<SqsInFlight>::default();
        let message = Message::builder().message_id("m").receipt_handle("h").build();
        let number = in_flight.insert(delivered(message));
        let (arrivals, mut arriving) = mpsc::channel(1);
        let record = || veilpost_proto::v1::RawRecord { last_receive: true, ..Default::default() };
        let last_receives = LastReceives::new(&arrivals, move |_| Undecided::SendAgain(record()));
        let leaver = leaver(&in_flight, last_receives);
        let left = vec![LeftDelivery::new(number, Span::none())];
        assert!(leaver.attempt(left, &Lifecycle::for_tests()).await.is_empty());
        assert_eq!((arriving.try_recv().unwrap()[0].number, in_flight.len()), (number, 1));
    }
}
