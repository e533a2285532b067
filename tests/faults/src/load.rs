//! Sends a mix of messages, straight to the queue, for as long as things go wrong.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use tokio::time::{MissedTickBehavior, interval};

use crate::mix::{Expected, Message, Mix};
use crate::pipeline::Pipeline;

/// One batch of ten each time.
const PACE: Duration = Duration::from_millis(60);

/// What waits in the queue before the first fault.
const BACKLOG: u64 = 500;

/// However long the faults last, no more is sent.
const MOST: u64 = 20_000;

/// What is larger goes alone: everything that speaks SQS takes batches of 256 KiB.
const LARGE: usize = 20_000;

/// What was sent, by message id.
pub(crate) type Sent = HashMap<String, SentMessage>;

#[derive(Clone, Debug)]
pub(crate) struct SentMessage {
    pub(crate) expected: Expected,
    pub(crate) at: Instant,
}

/// Sends until `over`.
pub(crate) async fn send(pipeline: &Pipeline, mix: Mix, over: &AtomicBool) -> anyhow::Result<Sent> {
    let mut sent = Sent::new();
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for first in (0..MOST).step_by(10) {
        if over.load(Ordering::SeqCst) {
            break;
        }
        if first >= BACKLOG {
            ticks.tick().await;
        }
        let messages = (first..first + 10).map(|number| mix.message(number));
        let (large, small): (Vec<_>, Vec<_>) = messages.partition(|message| message.body.len() > LARGE);
        send_batch(pipeline, small, &mut sent).await?;
        for message in large {
            send_alone(pipeline, message, &mut sent).await?;
        }
    }
    Ok(sent)
}

async fn send_alone(pipeline: &Pipeline, message: Message, sent: &mut Sent) -> anyhow::Result<()> {
    let call = pipeline.sqs.send_message().queue_url(&pipeline.pair.url).message_body(message.body);
    let id = call.send().await?.message_id.context("the queue gave no message id")?;
    sent.insert(id, SentMessage { expected: message.expected, at: Instant::now() });
    Ok(())
}

async fn send_batch(pipeline: &Pipeline, messages: Vec<Message>, sent: &mut Sent) -> anyhow::Result<()> {
    let entry = |(id, message): (usize, &Message)| {
        SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body(&message.body).build()
    };
    let entries = messages.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>()?;
    if entries.is_empty() {
        return Ok(());
    }
    let call = pipeline.sqs.send_message_batch().queue_url(&pipeline.pair.url);
    let answer = call.set_entries(Some(entries)).send().await?;
    anyhow::ensure!(answer.failed.is_empty(), "the queue refused what the harness sends");
    let at = Instant::now();
    for taken in answer.successful {
        let number: usize = taken.id.parse()?;
        let expected = messages.get(number).context("an id that was not sent")?.expected.clone();
        sent.insert(taken.message_id, SentMessage { expected, at });
    }
    Ok(())
}
