//! Sends rejected messages to the dead-letter queue, then has them deleted.

use std::collections::VecDeque;
use std::sync::Arc;

use metrics::Gauge;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{Instrument, Span};
use veilpost_runtime::{Lifecycle, telemetry};

use crate::concurrency::Pace;
use crate::dead_letter_message::Letter;
use crate::delete::Deletion;
use crate::delivery::DeliveryNumber;
use crate::error::{Problem, Trouble};
use crate::in_flight::InFlight;
use crate::known_rejects::Acquitted;
use crate::queue::{MAX_ENTRIES, Queue};
use crate::settlement::Rejection;
use crate::spans::Settling;
use crate::{call_pool, retry};

/// Calls that are on their way at once.
const SLOTS: usize = 8;

/// What letters in one call may add up to: AWS takes 1 MiB, everything that speaks SQS takes this. A letter that is
/// larger goes alone, in a call that has no such limit.
const MAX_BATCH_BYTES: usize = 256 * 1024;

/// After so many attempts a letter is given up for now: the message is left, comes again and is rejected again. What
/// cannot be sent must not hold the window for ever.
const MAX_TRIES: u32 = 12;

/// What our attributes add to a message at most, as a guess for filling batches.
const OUR_BYTES: usize = 1024;

/// A delivery whose message is to be sent to the dead-letter queue.
#[derive(Clone, Debug)]
pub(crate) struct Casualty {
    pub(crate) number: DeliveryNumber,
    pub(crate) rejection: Rejection,
    /// The message's size, for filling batches.
    pub(crate) bytes: usize,
    /// Attempts that failed.
    pub(crate) tries: u32,
    /// The span of its batch.
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) struct DeadLetters {
    pub(crate) queue: Queue,
    /// The size of a message that the dead-letter queue takes.
    pub(crate) limit: usize,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) trouble: Trouble,
    /// Where a message goes once its letter has been sent.
    pub(crate) deletions: mpsc::Sender<Vec<Deletion>>,
    pub(crate) acquitted: Arc<Acquitted>,
}

impl DeadLetters {
    /// Sends what arrives until the channel is closed and everything is sent, or until the service aborts; what is not
    /// sent by then is still in flight.
    pub(crate) async fn run(self, arriving: mpsc::Receiver<Vec<Casualty>>, lifecycle: Lifecycle) {
        let pace = Pace::between(SLOTS, SLOTS, Instant::now());
        let attempt = |batch| self.attempt(batch, &lifecycle);
        call_pool::run(pace, Gauge::noop(), arriving, batch, attempt, &lifecycle).await;
    }

    /// Gives back what has to be tried again, after a pause.
    async fn attempt(&self, batch: Vec<Casualty>, lifecycle: &Lifecycle) -> Vec<Casualty> {
        let batches = batch.iter().map(|casualty| &casualty.span);
        let settling = Settling::of("send", &self.queue, batch.len(), batches);
        let again = self.send(batch).instrument(settling.span.clone()).await;
        if !again.is_empty() {
            telemetry::failed(&settling.span, telemetry::OTHER);
        }
        drop(settling);
        if let Some(tries) = again.iter().map(|casualty| casualty.tries).max() {
            retry::rest(tries, lifecycle).await;
        }
        again
    }

    async fn send(&self, batch: Vec<Casualty>) -> Vec<Casualty> {
        let mut written: Vec<_> =
            batch.into_iter().filter_map(|casualty| Some((self.write(&casualty)?, casualty))).collect();
        if written.len() > 1 {
            return self.send_together(written).await;
        }
        match written.pop() {
            Some((letter, casualty)) => self.send_alone(letter, casualty).await.into_iter().collect(),
            None => Vec::new(),
        }
    }

    async fn send_together(&self, written: Vec<(Letter, Casualty)>) -> Vec<Casualty> {
        let (letters, casualties): (Vec<_>, Vec<_>) = written.into_iter().unzip();
        let answers = match self.queue.send_batch(letters).await {
            Ok(answers) => answers,
            Err(problem) => {
                self.trouble.met(&problem);
                return casualties.into_iter().map(Casualty::failed).collect();
            }
        };
        self.trouble.over();
        let (sent, refused): (Vec<_>, Vec<_>) =
            casualties.into_iter().zip(answers).partition(|(_, answer)| answer.is_ok());
        self.sent(sent.into_iter().map(|(casualty, _)| casualty)).await;
        refused.into_iter().map(|(casualty, _)| casualty.failed()).collect()
    }

    async fn send_alone(&self, letter: Letter, casualty: Casualty) -> Option<Casualty> {
        match self.queue.send(letter).await {
            Ok(()) => {
                self.trouble.over();
                self.sent(std::iter::once(casualty)).await;
                None
            }
            Err(problem) if problem.blames_message() || casualty.tries + 1 >= MAX_TRIES => {
                self.leave(&casualty, &problem);
                None
            }
            Err(problem) => {
                self.trouble.met(&problem);
                Some(casualty.failed())
            }
        }
    }

    /// `None` when the delivery is settled already.
    fn write(&self, casualty: &Casualty) -> Option<Letter> {
        self.in_flight.with(casualty.number, |delivery| {
            let (letter, dropped) = Letter::of(delivery, &casualty.rejection, self.limit);
            if casualty.tries == 0 && !dropped.is_empty() {
                let message_id = &delivery.message_id;
                tracing::warn!(message_id, attributes = ?dropped, "no room for these attributes beside the reason");
            }
            letter
        })
    }

    async fn sent(&self, casualties: impl Iterator<Item = Casualty>) {
        let deletions: Vec<_> =
            casualties.map(|casualty| Deletion::new(casualty.number, casualty.span)).collect();
        let sent = u64::try_from(deletions.len()).unwrap_or_default();
        metrics::counter!("veilpost_reader_settled_total", "action" => "dead-letter").increment(sent);
        if self.deletions.send(deletions).await.is_err() {
            tracing::debug!("deletes have ended; the rest is given back");
        }
    }

    fn leave(&self, casualty: &Casualty, problem: &Problem) {
        for delivery in self.in_flight.remove(&[casualty.number]) {
            metrics::counter!("veilpost_reader_settled_total", "action" => "leave").increment(1);
            self.acquitted.add(&delivery.message_id);
            tracing::error!(message_id = delivery.message_id, %problem, "the dead-letter queue does not take it; left");
        }
    }
}

impl Casualty {
    fn failed(self) -> Self {
        Self { tries: self.tries.saturating_add(1), ..self }
    }
}

/// As many as go into one call. One that has failed before goes alone: it may be what the call failed for.
fn batch(waiting: &mut VecDeque<Casualty>) -> Vec<Casualty> {
    let mut batch: Vec<Casualty> = waiting.pop_front().into_iter().collect();
    if batch.iter().any(|first| first.tries > 0) {
        return batch;
    }
    let mut bytes = batch.iter().map(weight).sum::<usize>();
    while let Some(next) = waiting.front() {
        bytes += weight(next);
        if next.tries > 0 || batch.len() >= MAX_ENTRIES || bytes > MAX_BATCH_BYTES {
            break;
        }
        batch.extend(waiting.pop_front());
    }
    batch
}

fn weight(casualty: &Casualty) -> usize {
    casualty.bytes + OUR_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Delivery;
    use crate::window::Window;
    use aws_sdk_sqs::types::Message;
    use proptest::prelude::*;
    use tokio::time::Instant;

    fn casualty((bytes, tries): (usize, u32)) -> Casualty {
        let rejection = Rejection { reason: "not-json", detail: String::new() };
        Casualty { number: DeliveryNumber(0), rejection, bytes, tries, span: Span::none() }
    }

    #[tokio::test]
    async fn what_cannot_be_sent_for_long_is_left_and_its_room_is_free() {
        let share = Window::new(1, 100).reserve().await.share(1);
        let message = Message::builder().message_id("m").receipt_handle("h").body("b").build();
        let delivery = Delivery::new(message, Instant::now(), share).unwrap();
        let (deletions, _to_delete) = mpsc::channel(1);
        let dead_letters = DeadLetters {
            queue: Queue::nowhere(),
            limit: 1000,
            in_flight: Arc::default(),
            trouble: Trouble::new("send", "q"),
            deletions,
            acquitted: Arc::default(),
        };
        let number = dead_letters.in_flight.insert(delivery);
        let tried = |tries| Casualty { number, ..casualty((1, tries)) };
        let again = dead_letters.send(vec![tried(MAX_TRIES - 2)]).await;
        assert_eq!(again.first().map(|casualty| casualty.tries), Some(MAX_TRIES - 1));
        assert!(dead_letters.send(again).await.is_empty());
        assert!(dead_letters.in_flight.remove(&[number]).is_empty());
        assert!(dead_letters.acquitted.contains("m"), "it comes again, and is no suspect");
    }

    proptest! {
        #[test]
        fn batches_keep_the_limits_and_the_order_and_lose_nothing(sizes in prop::collection::vec((0usize..300_000, 0u32..2), 0..40)) {
            let mut waiting: VecDeque<_> = sizes.iter().copied().map(casualty).collect();
            let mut seen = Vec::new();
            while !waiting.is_empty() {
                let batch = batch(&mut waiting);
                prop_assert!(!batch.is_empty() && batch.len() <= MAX_ENTRIES);
                if batch.len() > 1 {
                    prop_assert!(batch.iter().map(weight).sum::<usize>() <= MAX_BATCH_BYTES);
                    prop_assert!(batch.iter().all(|casualty| casualty.tries == 0));
                }
                seen.extend(batch.into_iter().map(|casualty| (casualty.bytes, casualty.tries)));
            }
            prop_assert_eq!(seen, sizes);
        }
    }
}
