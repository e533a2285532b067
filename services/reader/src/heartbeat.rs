//! Keeps messages hidden for as long as they are in flight.

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
use veilpost_sqs::Call;

use crate::entries::EntryResult;
use crate::extension::{beat, extension, overdue_from};
use crate::extension_calls::ExtensionCalls;
use crate::limits::MAX_ENTRIES;
use crate::max_receives::MaxReceives;
use crate::message::{SqsInFlight, SqsMessage};
use crate::metrics::{HEARTBEATS, HEARTBEATS_LOST};
use crate::outage::CallOutage;
use crate::queue::Queue;
use crate::receipt_handle::ReceiptHandle;
use crate::receive_gate::{Extensions, GateKeeper};

/// A delivery that is in flight for this long is logged.
const WARN_AFTER: Duration = Duration::from_hours(6);

#[derive(Debug)]
pub(crate) struct Heartbeat {
    pub(crate) queue: Queue,
    pub(crate) in_flight: Arc<SqsInFlight>,
    pub(crate) outage: CallOutage,
    pub(crate) gate: GateKeeper,
    pub(crate) visibility: Duration,
    pub(crate) max_receives: MaxReceives,
}

/// An extension that is due.
type Due = (DeliveryNumber, ReceiptHandle, Duration);

impl Heartbeat {
    /// Extends what is due until `stop` is cancelled. A slow call delays only the deliveries that it extends
    /// itself, because each beat looks again at what is due.
    ///
    /// While calls fail, there is one attempt after each pause; if nothing is due, it only asks whether
    /// extensions are possible. Receiving goes on only when one has succeeded.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let every = beat(self.visibility);
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut waiting, mut under_way) = (VecDeque::new(), HashSet::new());
        let (mut calls, mut state) = (FuturesUnordered::new(), ExtensionCalls::new(every));
        loop {
            let retry = state.retry_at().filter(|_| calls.is_empty());
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some((batch, succeeded)) = calls.next(), if !calls.is_empty() => {
                    let batch: Vec<Due> = batch;
                    for (number, ..) in &batch {
                        under_way.remove(number);
                    }
                    if state.fail() && succeeded {
                        waiting = self.due(&under_way);
                    }
                    state.ended(succeeded, Instant::now());
                }
                () = until(retry), if retry.is_some() => waiting = self.due(&under_way),
                _ = ticks.tick() => {
                    self.warn();
                    waiting = self.due(&under_way);
                }
            }
            while state.allow(calls.len(), Instant::now()) && (state.fail() || !waiting.is_empty()) {
                let batch = self.take_batch(&mut waiting);
                under_way.extend(batch.iter().map(|(number, ..)| *number));
                calls.push(self.extend(batch));
            }
            self.gate.update(Extensions { fail: state.fail(), first_overdue: self.first_overdue() });
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
            extension(now, &delivery.message, self.visibility)?;
            (!under_way.contains(&number)).then_some((delivery.message.hidden_since, number))
        });
        due.sort_unstable();
        due.into_iter().map(|(_, number)| number).collect()
    }

    fn first_overdue(&self) -> Option<Instant> {
        let (visibility, max_receives) = (self.visibility, self.max_receives.get());
        let overdue =
            self.in_flight.pick(|_, delivery| overdue_from(&delivery.message, visibility, max_receives));
        overdue.into_iter().min()
    }

    /// The entries of the next call. Deliveries that have been settled meanwhile are left out.
    fn take_batch(&self, waiting: &mut VecDeque<DeliveryNumber>) -> Vec<Due> {
        let now = Instant::now();
        let mut batch = Vec::with_capacity(MAX_ENTRIES);
        while batch.len() < MAX_ENTRIES
            && let Some(number) = waiting.pop_front()
        {
            let due = self.in_flight.with(number, |delivery| {
                let message = &delivery.message;
                Some((number, message.handle.clone(), extension(now, message, self.visibility)?))
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

    /// Returns the batch, and whether the call has succeeded. An empty batch asks whether extensions are
    /// possible.
    async fn extend(&self, batch: Vec<Due>) -> (Vec<Due>, bool) {
        let since = Instant::now();
        let entries: Vec<_> =
            batch.iter().map(|(_, handle, extension)| (handle.clone(), *extension)).collect();
        let answer = if entries.is_empty() {
            self.queue.check_extend().await.map(|()| Vec::new())
        } else {
            self.queue.change_visibility(&entries).await
        };
        let succeeded = match answer {
            Ok(results) => self.handle_results(&batch, &results, since),
            Err(problem) => {
                self.outage.failed(&problem);
                false
            }
        };
        (batch, succeeded)
    }

    /// False when SQS has extended nothing, and not for want of a valid handle. A result counts only for the
    /// handle that was sent: a message may have been received again meanwhile.
    pub(crate) fn handle_results(&self, batch: &[Due], results: &[EntryResult], since: Instant) -> bool {
        let mut failed = None;
        for ((number, handle, _), result) in batch.iter().zip(results) {
            match result {
                Ok(()) => {
                    metrics::counter!(HEARTBEATS).increment(1);
                    self.with_handle(*number, handle, |message| message.hidden_since = Some(since));
                }
                Err(refusal) if refusal.blames_handle() => self.lose(*number, handle),
                Err(refusal) => failed = Some(refusal),
            }
        }
        let is_outage = failed.is_some() && results.iter().all(Result::is_err);
        match failed.filter(|_| is_outage) {
            Some(refusal) => self.outage.failed(&refusal.problem(Call::Extend)),
            None => self.outage.succeeded(),
        }
        !is_outage
    }

    fn lose(&self, number: DeliveryNumber, handle: &ReceiptHandle) {
        let lost = self.with_handle(number, handle, |message| {
            message.hidden_since = None;
            message.losses = message.losses.saturating_add(1);
        });
        if lost {
            metrics::counter!(HEARTBEATS_LOST).increment(1);
        }
    }

    /// False when the delivery is settled already, or has another handle by now.
    fn with_handle(
        &self,
        number: DeliveryNumber,
        handle: &ReceiptHandle,
        change: impl FnOnce(&mut SqsMessage),
    ) -> bool {
        let changed = self.in_flight.with(number, |delivery| {
            let is_same = delivery.message.handle == *handle;
            if is_same {
                change(&mut delivery.message);
            }
            is_same
        });
        changed.unwrap_or(false)
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

async fn until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::receive_gate::receive_gate;

    pub(crate) const VISIBILITY: Duration = Duration::from_mins(1);

    pub(crate) fn heartbeat(in_flight: Arc<SqsInFlight>) -> Heartbeat {
        Heartbeat {
            queue: Queue::unreachable(),
            in_flight,
            outage: CallOutage::new("extend", "q"),
            gate: receive_gate("q").0,
            visibility: VISIBILITY,
            max_receives: MaxReceives::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::heartbeat;
    use super::*;
    use crate::message::SqsDelivery;
    use crate::message::testing::delivered;
    use aws_sdk_sqs::types::Message;

    fn delivery(message_id: &str) -> SqsDelivery {
        delivered(Message::builder().message_id(message_id).receipt_handle("h").build())
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn the_most_urgent_goes_first_and_what_is_under_way_does_not_go_again() {
        let heartbeat = heartbeat(Arc::default());
        let mut numbers = Vec::new();
        for hidden in [5, 1, 3, 2, 4, 40] {
            let mut delivery = delivery(&hidden.to_string());
            delivery.message.hidden_since = Some(delivery.received + seconds(hidden));
            numbers.push(heartbeat.in_flight.insert(delivery));
        }
        tokio::time::advance(seconds(50)).await;
        let mut due = heartbeat.due(&HashSet::from([numbers[2]]));
        assert_eq!(due, [1, 3, 4, 0].map(|index: usize| numbers[index]));
        drop(heartbeat.in_flight.remove(&[numbers[3]]));
        let batch: Vec<_> = heartbeat.take_batch(&mut due).into_iter().map(|(number, ..)| number).collect();
        assert_eq!(batch, [1, 4, 0].map(|index: usize| numbers[index]), "without what was settled meanwhile");
    }

    #[tokio::test(start_paused = true)]
    async fn a_very_old_delivery_is_logged_once_even_when_beats_were_late() {
        let heartbeat = heartbeat(Arc::default());
        heartbeat.in_flight.insert(delivery("m"));
        assert!(heartbeat.ages().1.is_empty());
        tokio::time::advance(WARN_AFTER + Duration::from_mins(30)).await;
        assert_eq!(heartbeat.ages().1, ["m"]);
        assert!(heartbeat.ages().1.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_extension_loses_the_message_until_it_is_received_again() {
        let heartbeat = heartbeat(Arc::default());
        let number = heartbeat.in_flight.insert(delivery("m"));
        tokio::time::advance(seconds(30)).await;
        let batch = heartbeat.take_batch(&mut VecDeque::from([number]));
        let refusal =
            crate::entries::EntryRefusal { code: "ReceiptHandleIsInvalid".to_owned(), sender_fault: true };
        assert!(heartbeat.handle_results(&batch, &[Err(refusal.clone())], Instant::now()), "calls work");
        assert!(heartbeat.due(&HashSet::new()).is_empty());
        let newer = delivered(Message::builder().message_id("m").receipt_handle("h2").build()).message;
        heartbeat.in_flight.with(number, |delivery| delivery.message.adopt(newer));
        assert!(heartbeat.handle_results(&batch, &[Err(refusal)], Instant::now()), "of the older handle");
        tokio::time::advance(seconds(30)).await;
        assert_eq!(heartbeat.due(&HashSet::new()), [number]);
    }

    #[tokio::test(start_paused = true)]
    async fn entries_that_all_fail_without_a_fault_of_their_handles_are_an_outage() {
        let heartbeat = heartbeat(Arc::default());
        let numbers = ["a", "b"].map(|id| heartbeat.in_flight.insert(delivery(id)));
        tokio::time::advance(seconds(30)).await;
        let batch = heartbeat.take_batch(&mut VecDeque::from(numbers));
        let failed = || {
            let code = "InternalError".to_owned();
            Err(crate::entries::EntryRefusal { code, sender_fault: false })
        };
        assert!(heartbeat.handle_results(&batch, &[Ok(()), failed()], Instant::now()));
        assert!(!heartbeat.handle_results(&batch, &[failed(), failed()], Instant::now()));
    }
}
