//! Fills a queue while it is being drained, and measures the time until the last message is gone.

use std::time::Duration;

use aws_sdk_sqs::Client;
use futures_util::{StreamExt, stream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use veilpost_local::numbers::{float, whole};

use crate::bodies::Bodies;
use crate::queue::{QueueProcess, messages_left};
use crate::sender::PlainSender;

/// Sends on their way at once.
const SENDS: usize = 8;

/// Messages that SQS takes in one call.
const ENTRIES: u64 = 10;

/// Bytes that the embedded queue takes in one call; SQS itself takes four times as much.
const CALL_BYTES: f64 = 262_144.0;

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A queue that does not shrink for this long is not being drained.
const STALL: Duration = Duration::from_mins(1);

/// What to send, and how.
#[allow(missing_debug_implementations, reason = "holds what producers write")]
pub(crate) struct Feed<'a> {
    pub(crate) client: &'a Client,
    pub(crate) sender: &'a PlainSender,
    pub(crate) url: &'a str,
    pub(crate) bodies: &'a Bodies,
    pub(crate) count: u64,
    /// Sends only while fewer messages than this are in the queue.
    pub(crate) backlog: u64,
    /// Messages a second, at most.
    pub(crate) rate: Option<f64>,
}

/// How the queue was drained.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drained {
    /// From the first send until the queue was empty.
    pub(crate) seconds: f64,
    /// Messages in the queue, on average, while it was fed.
    pub(crate) mean_backlog: f64,
}

impl<'a> Feed<'a> {
    /// Sends `count` messages to a queue of this server, as fast as it accepts them.
    pub(crate) fn new(server: &'a QueueProcess, url: &'a str, bodies: &'a Bodies, count: u64) -> Self {
        let (client, sender) = (&server.client, &server.sender);
        Self { client, sender, url, bodies, count, backlog: u64::MAX, rate: None }
    }

    /// Sends everything and waits until all of it has been deleted.
    pub(crate) async fn until_drained(&self) -> anyhow::Result<Drained> {
        let (sent, sent_so_far) = watch::channel(0);
        let (left, left_now) = watch::channel(0);
        let started = Instant::now();
        let ((), mean_backlog) =
            tokio::try_join!(self.send(started, &sent, &left_now), self.watch(&sent_so_far, &left))?;
        Ok(Drained { seconds: started.elapsed().as_secs_f64(), mean_backlog })
    }

    /// Sends everything into a queue that is not being drained.
    pub(crate) async fn fill(&self) -> anyhow::Result<()> {
        let (sent, _) = watch::channel(0);
        let (_left, empty) = watch::channel(0);
        self.send(Instant::now(), &sent, &empty).await
    }

    async fn send(
        &self,
        started: Instant,
        sent: &watch::Sender<u64>,
        drained: &watch::Receiver<u64>,
    ) -> anyhow::Result<()> {
        let entries = ENTRIES.min(whole((CALL_BYTES / self.bodies.mean_bytes()).floor())).max(1);
        let pause = |first: u64| match self.rate {
            Some(rate) => started + Duration::from_secs_f64(float(first) / rate),
            None => started,
        };
        let calls = stream::iter((0..self.count).step_by(usize::try_from(entries)?))
            .then(|first| async move {
                let room = |drained: &u64| first.saturating_sub(*drained) < self.backlog;
                drained.clone().wait_for(room).await.ok();
                sleep_until(pause(first)).await;
                first..self.count.min(first + entries)
            })
            .map(|numbers| self.send_one(numbers))
            .buffer_unordered(SENDS);
        let mut calls = std::pin::pin!(calls);
        while let Some(taken) = calls.next().await {
            let taken = taken?;
            sent.send_modify(|sent| *sent += taken);
        }
        Ok(())
    }

    async fn send_one(&self, numbers: std::ops::Range<u64>) -> anyhow::Result<u64> {
        let count = numbers.end - numbers.start;
        self.sender.send(self.url, numbers.map(|number| self.bodies.of(number))).await?;
        Ok(count)
    }

    /// Publishes how many messages have been drained, until all have been.
    async fn watch(&self, sent: &watch::Receiver<u64>, drained: &watch::Sender<u64>) -> anyhow::Result<f64> {
        let (mut backlogs, mut looks) = (0, 0);
        let mut last = (0, Instant::now());
        loop {
            let sent_before = *sent.borrow();
            let left = messages_left(self.client, self.url).await?;
            let gone = sent_before.saturating_sub(left);
            drained.send_replace(gone);
            if gone > last.0 {
                last = (gone, Instant::now());
            }
            if gone == self.count {
                return Ok(float(backlogs) / float(looks).max(1.0));
            }
            if sent_before < self.count {
                (backlogs, looks) = (backlogs + left, looks + 1);
            }
            anyhow::ensure!(last.1.elapsed() < STALL, "{left} messages in the queue, and nobody drains it");
            sleep(POLL_INTERVAL).await;
        }
    }
}
