//! Sends a mix of messages, straight to the queue, for as long as things go wrong.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::time::{MissedTickBehavior, interval};
use veilpost_testkit::send_batch;

use crate::mix::{Expected, Message, MessageMix};
use crate::pipeline::ProxiedPipeline;

/// One batch of ten each time.
const PACE: Duration = Duration::from_millis(60);

/// What waits in the queue before the first fault.
const BACKLOG: u64 = 500;

/// The most messages that are sent, however long the faults last.
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
pub(crate) async fn send(
    pipeline: &ProxiedPipeline,
    mix: MessageMix,
    over: &AtomicBool,
) -> anyhow::Result<Sent> {
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
        send_small(pipeline, small, &mut sent).await?;
        for message in large {
            send_alone(pipeline, message, &mut sent).await?;
        }
    }
    Ok(sent)
}

/// Sends these messages and no others.
pub(crate) async fn send_all(pipeline: &ProxiedPipeline, messages: Vec<Message>) -> anyhow::Result<Sent> {
    let mut sent = Sent::new();
    let mut messages = messages.into_iter().peekable();
    while messages.peek().is_some() {
        send_small(pipeline, messages.by_ref().take(10).collect(), &mut sent).await?;
    }
    Ok(sent)
}

async fn send_alone(pipeline: &ProxiedPipeline, message: Message, sent: &mut Sent) -> anyhow::Result<()> {
    let call = pipeline.sqs.send_message().queue_url(&pipeline.pair.url).message_body(message.body);
    let id = call.send().await?.message_id.context("the queue gave no message id")?;
    sent.insert(id, SentMessage { expected: message.expected, at: Instant::now() });
    Ok(())
}

async fn send_small(
    pipeline: &ProxiedPipeline,
    messages: Vec<Message>,
    sent: &mut Sent,
) -> anyhow::Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    let (bodies, expected): (Vec<_>, Vec<_>) =
        messages.into_iter().map(|message| (message.body, message.expected)).unzip();
    let ids = send_batch(&pipeline.sqs, &pipeline.pair.url, &bodies).await?;
    let at = Instant::now();
    sent.extend(ids.into_iter().zip(expected).map(|(id, expected)| (id, SentMessage { expected, at })));
    Ok(())
}
