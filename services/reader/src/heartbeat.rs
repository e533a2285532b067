//! Keeps deliveries hidden for as long as they are in flight.

use std::collections::{HashSet, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use veilpost_reader_core::metrics::IN_FLIGHT_OLDEST;
use veilpost_reader_core::{DeliveryNumber, LAST_CALLS};

use crate::limits::{MAX_ENTRIES, MAX_VISIBILITY};
use crate::message::{SqsDelivery, SqsInFlight};
use crate::metrics::{HEARTBEATS, HEARTBEATS_LOST};
use crate::outage::CallOutage;
use crate::queue::Queue;
use crate::receipt_handle::ReceiptHandle;

/// Clocks and the network are not exact: the last extension ends this much before SQS's own limit.
const MARGIN: Duration = Duration::from_mins(1);

/// A delivery that is in flight for this long is logged.
const WARN_AFTER: Duration = Duration::from_hours(6);

/// The most calls under way at once: enough to extend the whole window within half a timeout, even when SQS
/// is slow.
const MAX_CALLS: usize = 32;

#[derive(Debug)]
pub(crate) struct Heartbeat {
    pub(crate) queue: Queue,
    pub(crate) in_flight: Arc<SqsInFlight>,
    pub(crate) outage: CallOutage,
    pub(crate) visibility: Duration,
}

/// An extension that is due.
type Due = (DeliveryNumber, ReceiptHandle, Duration);

impl Heartbeat {
    /// Extends what is due until `stop` is cancelled. A slow call delays only the deliveries that it extends
    /// itself, because each beat looks again at what is due.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let every = (self.visibility / 8).clamp(Duration::from_millis(100), Duration::from_secs(5));
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut waiting, mut under_way) = (VecDeque::new(), HashSet::new());
        let mut calls = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = ticks.tick() => {
                    self.warn();
                    waiting = self.due(&under_way);
                }
                Some(batch) = calls.next(), if !calls.is_empty() => {
                    let batch: Vec<Due> = batch;
                    for (number, ..) in &batch {
                        under_way.remove(number);
                    }
                }
            }
            while calls.len() < MAX_CALLS && !waiting.is_empty() {
                let batch = self.batch(&mut waiting);
                under_way.extend(batch.iter().map(|(number, ..)| *number));
                calls.push(self.extend(batch));
            }
        }
        // An extension that arrives late would hide again what is about to be released.
        let ended = async { while calls.next().await.is_some() {} };
        if tokio::time::timeout(LAST_CALLS, ended).await.is_err() {
            tracing::debug!("extensions are still under way; stopped");
        }
    }

    /// The deliveries that are due and not being extended already, the most urgent first.
    fn due(&self, under_way: &HashSet<DeliveryNumber>) -> VecDeque<DeliveryNumber> {
        let now = Instant::now();
        let mut due = self.in_flight.pick(|number, delivery| {
            extension(now, delivery, self.visibility)?;
            (!under_way.contains(&number)).then_some((delivery.message.hidden_since, number))
        });
        due.sort_unstable();
        due.into_iter().map(|(_, number)| number).collect()
    }

    /// The entries of the next call. Deliveries that have been settled meanwhile are left out.
    fn batch(&self, waiting: &mut VecDeque<DeliveryNumber>) -> Vec<Due> {
        let now = Instant::now();
        let mut batch = Vec::with_capacity(MAX_ENTRIES);
        while batch.len() < MAX_ENTRIES
            && let Some(number) = waiting.pop_front()
        {
            let due = self.in_flight.with(number, |delivery| {
                Some((number, delivery.message.handle.clone(), extension(now, delivery, self.visibility)?))
            });
            batch.extend(due.flatten());
        }
        batch
    }

    /// The age of the oldest delivery, and the ids of those that have just become very old.
    fn ages(&self) -> (Duration, Vec<String>) {
        let now = Instant::now();
        let mut oldest = Duration::ZERO;
        let old = self.in_flight.pick(|_, delivery| {
            let age = now.duration_since(delivery.received);
            oldest = oldest.max(age);
            let is_new = age >= WARN_AFTER && !mem::replace(&mut delivery.message.is_warned, true);
            is_new.then(|| delivery.message_id.clone())
        });
        (oldest, old)
    }

    /// Returns the batch, whatever became of the call.
    async fn extend(&self, batch: Vec<Due>) -> Vec<Due> {
        if !batch.is_empty() {
            self.call(&batch).await;
        }
        batch
    }

    async fn call(&self, batch: &[Due]) {
        let since = Instant::now();
        let entries: Vec<_> =
            batch.iter().map(|(_, handle, extension)| (handle.clone(), *extension)).collect();
        let results = match self.queue.extend(&entries).await {
            Ok(results) => results,
            Err(problem) => return self.outage.failed(&problem),
        };
        self.outage.succeeded();
        for ((number, ..), result) in batch.iter().zip(results) {
            match result {
                Ok(()) => {
                    metrics::counter!(HEARTBEATS).increment(1);
                    self.set_hidden_since(*number, Some(since));
                }
                Err(refusal) if refusal.sender_fault && self.set_hidden_since(*number, None) => {
                    metrics::counter!(HEARTBEATS_LOST).increment(1);
                }
                Err(_) => {}
            }
        }
    }

    /// False when the delivery is settled already.
    fn set_hidden_since(&self, number: DeliveryNumber, since: Option<Instant>) -> bool {
        self.in_flight.with(number, |delivery| delivery.message.hidden_since = since).is_some()
    }

    /// Logs each delivery once when it has been in flight for half of the time that SQS allows.
    fn warn(&self) {
        let (oldest, old) = self.ages();
        metrics::gauge!(IN_FLIGHT_OLDEST).set(oldest.as_secs_f64());
        if let Some(message_id) = old.first() {
            let deliveries = old.len();
            tracing::warn!(
                deliveries,
                message_id,
                "in flight for 6 h; after 12 h SQS delivers the message again"
            );
        }
    }
}

/// For how long a delivery is to be hidden from `now` on, in whole seconds. `None` while more than half of
/// its time is left, and when SQS would not extend it.
fn extension(now: Instant, delivery: &SqsDelivery, visibility: Duration) -> Option<Duration> {
    let since = delivery.message.hidden_since?;
    if now.duration_since(since) < visibility / 2 {
        return None;
    }
    let left = MAX_VISIBILITY.checked_sub(now.duration_since(delivery.received))?.checked_sub(MARGIN)?;
    let extension = Duration::from_secs(visibility.min(left).as_secs());
    (!extension.is_zero()).then_some(extension)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::testing::delivered;
    use aws_sdk_sqs::types::Message;

    const VISIBILITY: Duration = Duration::from_mins(1);

    fn delivery() -> SqsDelivery {
        delivered(Message::builder().message_id("m").receipt_handle("h").build())
    }

    fn heartbeat() -> Heartbeat {
        let outage = CallOutage::new("extend", "q");
        Heartbeat { queue: Queue::unreachable(), in_flight: Arc::default(), outage, visibility: VISIBILITY }
    }

    #[tokio::test(start_paused = true)]
    async fn the_most_urgent_goes_first_and_what_is_under_way_does_not_go_again() {
        let heartbeat = heartbeat();
        let mut numbers = Vec::new();
        for hidden in [5, 1, 3, 2, 4, 40] {
            let mut delivery = delivery();
            delivery.message.hidden_since = Some(delivery.received + seconds(hidden));
            numbers.push(heartbeat.in_flight.insert(delivery));
        }
        tokio::time::advance(seconds(50)).await;
        let mut due = heartbeat.due(&HashSet::from([numbers[2]]));
        assert_eq!(due, [1, 3, 4, 0].map(|index: usize| numbers[index]));
        drop(heartbeat.in_flight.remove(&[numbers[3]]));
        let batch: Vec<_> = heartbeat.batch(&mut due).into_iter().map(|(number, ..)| number).collect();
        assert_eq!(batch, [1, 4, 0].map(|index: usize| numbers[index]), "without what was settled meanwhile");
    }

    #[tokio::test(start_paused = true)]
    async fn a_very_old_delivery_is_logged_once_even_when_beats_were_late() {
        let heartbeat = heartbeat();
        heartbeat.in_flight.insert(delivery());
        assert!(heartbeat.ages().1.is_empty());
        tokio::time::advance(WARN_AFTER + Duration::from_mins(30)).await;
        assert_eq!(heartbeat.ages().1, ["m"]);
        assert!(heartbeat.ages().1.is_empty());
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn only_deliveries_older_than_half_the_timeout_are_extended() {
        let delivery = delivery();
        let at = |after| extension(delivery.received + seconds(after), &delivery, VISIBILITY);
        assert_eq!(at(29), None);
        assert_eq!(at(30), Some(VISIBILITY));
    }

    #[tokio::test(start_paused = true)]
    async fn an_extended_delivery_is_due_again_half_a_timeout_later() {
        let mut delivery = delivery();
        delivery.message.hidden_since = Some(delivery.received + seconds(30));
        let at = |after| extension(delivery.received + seconds(after), &delivery, VISIBILITY);
        assert_eq!(at(59), None);
        assert_eq!(at(60), Some(VISIBILITY));
    }

    #[tokio::test(start_paused = true)]
    async fn no_extension_reaches_beyond_twelve_hours_after_the_receive() {
        let mut delivery = delivery();
        for after in (0..MAX_VISIBILITY.as_secs() + 600).step_by(10) {
            let now = delivery.received + seconds(after);
            if let Some(extension) = extension(now, &delivery, VISIBILITY) {
                assert!(seconds(after) + extension < MAX_VISIBILITY);
                assert!(extension >= seconds(1));
                delivery.message.hidden_since = Some(now);
            }
        }
        assert_eq!(extension(delivery.received + MAX_VISIBILITY, &delivery, VISIBILITY), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_delivery_that_sqs_refused_to_extend_is_not_extended_again() {
        let mut delivery = delivery();
        delivery.message.hidden_since = None;
        assert_eq!(extension(delivery.received + seconds(3600), &delivery, VISIBILITY), None);
    }

    #[tokio::test(start_paused = true)]
    async fn regular_beats_leave_no_moment_unhidden() {
        let mut delivery = delivery();
        let mut hidden_until = delivery.received + VISIBILITY;
        for tick in 1..2000 {
            let now = delivery.received + seconds(5) * tick;
            assert!(now < hidden_until);
            if let Some(extension) = extension(now, &delivery, VISIBILITY) {
                delivery.message.hidden_since = Some(now);
                hidden_until = now + extension;
            }
        }
    }
}
