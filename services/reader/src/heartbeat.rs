//! Keeps deliveries hidden for as long as they are in flight.

use std::collections::{HashSet, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::delivery::{Delivery, DeliveryNumber, ReceiptHandle};
use crate::error::Trouble;
use crate::in_flight::InFlight;
use crate::queue::{MAX_ENTRIES, Queue};

/// SQS hides a message no longer than this after its receive, however often it is extended.
const LONGEST: Duration = Duration::from_hours(12);

/// Clocks and the network are not exact; the last extension ends this much before SQS's own limit.
const MARGIN: Duration = Duration::from_mins(1);

/// A delivery in flight for this long is warned about.
const WARN_AFTER: Duration = Duration::from_hours(6);

/// Calls that are on their way at once: enough for the whole window within half a timeout also when SQS is slow.
const SLOTS: usize = 32;

/// What calls under way get when the heartbeat is told to stop: there is little time then.
const LAST_CALLS: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Heartbeat {
    pub(crate) queue: Queue,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) trouble: Trouble,
    pub(crate) visibility: Duration,
}

/// An extension that is due.
type Due = (DeliveryNumber, ReceiptHandle, Duration);

impl Heartbeat {
    /// Extends what is due, concurrently with everything else, until told to stop. Slow calls keep nothing waiting but
    /// what they extend themselves: each beat looks anew at what is due.
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
            while calls.len() < SLOTS && !waiting.is_empty() {
                let batch = self.batch(&mut waiting);
                under_way.extend(batch.iter().map(|(number, ..)| *number));
                calls.push(self.extend(batch));
            }
        }
        // One that arrives late would hide again what is about to be given back.
        let ended = async { while calls.next().await.is_some() {} };
        if tokio::time::timeout(LAST_CALLS, ended).await.is_err() {
            tracing::debug!("extensions are still under way; stopped");
        }
    }

    /// What is due and not being extended, the most urgent first.
    fn due(&self, under_way: &HashSet<DeliveryNumber>) -> VecDeque<DeliveryNumber> {
        let now = Instant::now();
        let mut due = self.in_flight.pick(|number, delivery| {
            extension(now, delivery, self.visibility)?;
            (!under_way.contains(&number)).then_some((delivery.hidden_since, number))
        });
        due.sort_unstable();
        due.into_iter().map(|(_, number)| number).collect()
    }

    /// The next of what waits, without what has been settled meanwhile.
    fn batch(&self, waiting: &mut VecDeque<DeliveryNumber>) -> Vec<Due> {
        let now = Instant::now();
        let mut batch = Vec::with_capacity(MAX_ENTRIES);
        while batch.len() < MAX_ENTRIES
            && let Some(number) = waiting.pop_front()
        {
            let due = self.in_flight.with(number, |delivery| {
                Some((number, delivery.handle.clone(), extension(now, delivery, self.visibility)?))
            });
            batch.extend(due.flatten());
        }
        batch
    }

    /// The oldest delivery's age, and the ids of those that have just become very old.
    fn ages(&self) -> (Duration, Vec<String>) {
        let now = Instant::now();
        let mut oldest = Duration::ZERO;
        let old = self.in_flight.pick(|_, delivery| {
            let age = now.duration_since(delivery.received);
            oldest = oldest.max(age);
            let news = age >= WARN_AFTER && !mem::replace(&mut delivery.warned, true);
            news.then(|| delivery.message_id.clone())
        });
        (oldest, old)
    }

    /// Gives back the batch, whatever has become of it.
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
        let answers = match self.queue.extend(&entries).await {
            Ok(answers) => answers,
            Err(problem) => return self.trouble.met(&problem),
        };
        self.trouble.over();
        for ((number, ..), answer) in batch.iter().zip(answers) {
            match answer {
                Ok(()) => {
                    metrics::counter!("veilpost_reader_heartbeats_total").increment(1);
                    self.in_flight.hidden_since(*number, Some(since));
                }
                Err(refusal) if refusal.sender_fault && self.in_flight.hidden_since(*number, None) => {
                    metrics::counter!("veilpost_reader_heartbeats_lost_total").increment(1);
                }
                Err(_) => {}
            }
        }
    }

    /// Says once of each delivery that it has been in flight for half of what SQS allows.
    fn warn(&self) {
        let (oldest, old) = self.ages();
        metrics::gauge!("veilpost_reader_in_flight_oldest_seconds").set(oldest.as_secs_f64());
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

/// How long a delivery is to be hidden from `now` on, in whole seconds; `None` while more than half of its time is
/// left, and when SQS would not extend it.
fn extension(now: Instant, delivery: &Delivery, visibility: Duration) -> Option<Duration> {
    let since = delivery.hidden_since?;
    if now.duration_since(since) < visibility / 2 {
        return None;
    }
    let left = LONGEST.checked_sub(now.duration_since(delivery.received))?.checked_sub(MARGIN)?;
    let extension = Duration::from_secs(visibility.min(left).as_secs());
    (!extension.is_zero()).then_some(extension)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::Window;
    use aws_sdk_sqs::types::Message;

    const VISIBILITY: Duration = Duration::from_mins(1);

    async fn delivery() -> Delivery {
        let share = Window::new(1, 100).reserve().await.share(1);
        let message = Message::builder().message_id("m").receipt_handle("h").build();
        Delivery::new(message, Instant::now(), share).unwrap()
    }

    fn heartbeat() -> Heartbeat {
        let trouble = Trouble::new("extend", "q");
        Heartbeat { queue: Queue::nowhere(), in_flight: Arc::default(), trouble, visibility: VISIBILITY }
    }

    #[tokio::test(start_paused = true)]
    async fn the_most_urgent_goes_first_and_what_is_under_way_does_not_go_again() {
        let heartbeat = heartbeat();
        let mut numbers = Vec::new();
        for hidden in [5, 1, 3, 2, 4, 40] {
            let mut delivery = delivery().await;
            delivery.hidden_since = Some(delivery.received + seconds(hidden));
            numbers.push(heartbeat.in_flight.insert(delivery));
        }
        tokio::time::advance(seconds(50)).await;
        let mut due = heartbeat.due(&HashSet::from([numbers[2]]));
        assert_eq!(due, [1, 3, 4, 0].map(|place: usize| numbers[place]));
        drop(heartbeat.in_flight.remove(&[numbers[3]]));
        let batch: Vec<_> = heartbeat.batch(&mut due).into_iter().map(|(number, ..)| number).collect();
        assert_eq!(batch, [1, 4, 0].map(|place: usize| numbers[place]), "without what was settled meanwhile");
    }

    #[tokio::test(start_paused = true)]
    async fn a_very_old_delivery_is_said_once_even_when_beats_were_late() {
        let heartbeat = heartbeat();
        heartbeat.in_flight.insert(delivery().await);
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
        let delivery = delivery().await;
        let at = |after| extension(delivery.received + seconds(after), &delivery, VISIBILITY);
        assert_eq!(at(29), None);
        assert_eq!(at(30), Some(VISIBILITY));
    }

    #[tokio::test(start_paused = true)]
    async fn an_extended_delivery_is_due_again_half_a_timeout_later() {
        let mut delivery = delivery().await;
        delivery.hidden_since = Some(delivery.received + seconds(30));
        let at = |after| extension(delivery.received + seconds(after), &delivery, VISIBILITY);
        assert_eq!(at(59), None);
        assert_eq!(at(60), Some(VISIBILITY));
    }

    #[tokio::test(start_paused = true)]
    async fn no_extension_reaches_beyond_twelve_hours_after_the_receive() {
        let mut delivery = delivery().await;
        for after in (0..LONGEST.as_secs() + 600).step_by(10) {
            let now = delivery.received + seconds(after);
            if let Some(extension) = extension(now, &delivery, VISIBILITY) {
                assert!(seconds(after) + extension < LONGEST);
                assert!(extension >= seconds(1));
                delivery.hidden_since = Some(now);
            }
        }
        assert_eq!(extension(delivery.received + LONGEST, &delivery, VISIBILITY), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_delivery_whose_handle_is_gone_is_forgotten() {
        let mut delivery = delivery().await;
        delivery.hidden_since = None;
        assert_eq!(extension(delivery.received + seconds(3600), &delivery, VISIBILITY), None);
    }

    #[tokio::test(start_paused = true)]
    async fn regular_beats_leave_no_moment_unhidden() {
        let mut delivery = delivery().await;
        let mut hidden_until = delivery.received + VISIBILITY;
        for tick in 1..2000 {
            let now = delivery.received + seconds(5) * tick;
            assert!(now < hidden_until);
            if let Some(extension) = extension(now, &delivery, VISIBILITY) {
                delivery.hidden_since = Some(now);
                hidden_until = now + extension;
            }
        }
    }
}
