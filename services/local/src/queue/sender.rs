//! Sends sample events in batches of ten, several batches at once, until each one has been taken.

use std::time::Duration;

use aws_sdk_sqs::error::BuildError;
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{Instrument, Span};
use veilpost_sqs::Call;

use super::queue_client::{QueueClient, in_one_line};
use super::trace;
use crate::events::SampleEvents;

/// The most messages that SQS accepts in one call.
const BATCH: u64 = 10;

/// How often an entry is sent that the queue refuses without blaming the sender.
const MAX_TRIES: u32 = 8;

const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Where to send, and how fast.
#[derive(Clone, Debug)]
pub struct Sender {
    pub queue: QueueClient,
    /// Batches in flight at once.
    pub concurrency: usize,
    /// Messages a second; none means no limit.
    pub rate: Option<u64>,
    /// Whether each message carries a trace context.
    pub traced: bool,
}

/// One message that the queue has accepted.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The number of the event in its sequence.
    pub number: u64,
    pub message_id: String,
}

impl Sender {
    /// Sends the first `count` events. `admit` is awaited before each batch, with the number of events before
    /// it. `sent` gets each batch that was accepted, in any order.
    pub async fn send(
        &self,
        events: SampleEvents,
        count: u64,
        admit: impl AsyncFn(u64),
        mut sent: impl FnMut(Vec<Sent>),
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        let (admit, pace) = (&admit, self.rate);
        let batches = stream::iter((0..count).step_by(10))
            .then(|first| async move {
                admit(first).await;
                sleep_until(started + due(first, pace)).await;
                first
            })
            .map(|first| self.send_batch(events, first..count.min(first + BATCH)))
            .buffer_unordered(self.concurrency.max(1));
        let mut batches = std::pin::pin!(batches);
        while let Some(batch) = batches.next().await {
            sent(batch?);
        }
        Ok(())
    }

    async fn send_batch(
        &self,
        events: SampleEvents,
        numbers: std::ops::Range<u64>,
    ) -> anyhow::Result<Vec<Sent>> {
        let mut waiting: Vec<u64> = numbers.collect();
        let mut taken = Vec::with_capacity(waiting.len());
        for attempt in 0..MAX_TRIES {
            if attempt > 0 {
                sleep(FIRST_PAUSE * 2_u32.pow(attempt - 1)).await;
            }
            taken.extend(self.try_batch(events, &waiting).await?);
            waiting.retain(|number| taken.iter().all(|sent| sent.number != *number));
            if waiting.is_empty() {
                return Ok(taken);
            }
        }
        anyhow::bail!("the queue did not take {} of {BATCH} messages after {MAX_TRIES} tries", waiting.len())
    }

    /// Sends one batch and returns the accepted entries.
    async fn try_batch(&self, events: SampleEvents, numbers: &[u64]) -> anyhow::Result<Vec<Sent>> {
        let span = if self.traced { trace::send(&self.queue.url, numbers.len()) } else { Span::none() };
        let context = self.traced.then(|| trace::attribute(&span)).transpose()?;
        let entry = |&number: &u64| entry(events, number, context.clone());
        let entries = numbers.iter().map(entry).collect::<Result<_, _>>()?;
        let request = self.queue.client.send_message_batch().queue_url(&self.queue.url);
        let answer = request.set_entries(Some(entries)).send().instrument(span).await;
        let answer = answer.map_err(|error| in_one_line(&error, Call::Send))?;
        if let Some(refused) = answer.failed.iter().find(|failed| failed.sender_fault) {
            anyhow::bail!("the queue refused a message: {}", refused.code);
        }
        let numbered = answer
            .successful
            .into_iter()
            .map(|taken| Ok(Sent { number: taken.id.parse()?, message_id: taken.message_id }));
        numbered.collect()
    }
}

fn entry(
    events: SampleEvents,
    number: u64,
    context: Option<MessageAttributeValue>,
) -> Result<SendMessageBatchRequestEntry, BuildError> {
    let body = events.event(number).body;
    let entry = SendMessageBatchRequestEntry::builder().id(number.to_string()).message_body(body);
    match context {
        Some(context) => entry.message_attributes(trace::ATTRIBUTE, context).build(),
        None => entry.build(),
    }
}

/// When the batch that starts with event `number` may be sent, counted from the first batch.
fn due(number: u64, rate: Option<u64>) -> Duration {
    let Some(rate) = rate.filter(|rate| *rate > 0) else { return Duration::ZERO };
    Duration::from_micros(number.saturating_mul(1_000_000) / rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_spaces_the_batches_and_no_rate_does_not() {
        assert_eq!(due(500, Some(100)), Duration::from_secs(5));
        assert_eq!(due(0, Some(100)), Duration::ZERO);
        assert_eq!(due(500, None), Duration::ZERO);
    }
}
