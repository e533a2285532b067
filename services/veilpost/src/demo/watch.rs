//! Follows the pipeline by its metrics until every message has been settled.

use std::time::Duration;

use aws_sdk_sqs::Client;
use indicatif::ProgressBar;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::dead_letters;
use super::pipeline::Pipeline;
use veilpost_local::numbers::whole;
use veilpost_local::output::grouped;
use veilpost_local::process::Metrics;

/// Reading metrics costs the services a little, and they share the processors with everything here.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// If no message is settled for this long, something is stuck.
const STALL: Duration = Duration::from_mins(1);

/// How many messages may wait in the embedded queue, which slows with its backlog.
const MAX_BACKLOG: u64 = 10_000;

/// What the services have counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) settled: u64,
    pub(super) stored: u64,
    pub(super) duplicate: u64,
    pub(super) rejected: u64,
}

impl Progress {
    fn of(reader: &Metrics, writer: &Metrics) -> Self {
        let written = |outcome| whole(writer.sum("veilpost_writer_records_total", &[("outcome", outcome)]));
        Self {
            settled: whole(reader.sum("veilpost_reader_settled_total", &[("action", "delete")])),
            stored: written("stored"),
            duplicate: written("duplicate"),
            rejected: whole(reader.sum("veilpost_reader_rejected_total", &[])),
        }
    }
}

/// Holds the sender back while the backlog is as long as it may get.
pub(super) async fn admit(settled: &watch::Receiver<u64>, number: u64) {
    let enough = |settled: &u64| number.saturating_sub(*settled) < MAX_BACKLOG;
    settled.clone().wait_for(enough).await.ok();
}

/// Returns once `messages` have been deleted and the queue is empty; fails when a service ends, or when
/// nothing moves.
pub(super) async fn until_settled(
    pipeline: &mut Pipeline,
    queue: (&Client, &str),
    messages: u64,
    settled: watch::Sender<u64>,
    bar: &ProgressBar,
) -> anyhow::Result<Progress> {
    let (client, url) = queue;
    let mut last = (Progress::default(), Instant::now());
    loop {
        sleep(LOOK_AGAIN).await;
        pipeline.ensure_running()?;
        let progress = Progress::of(&pipeline.reader.metrics().await?, &pipeline.writer.metrics().await?);
        if progress != last.0 {
            last = (progress, Instant::now());
        }
        settled.send_replace(progress.settled);
        bar.set_position(progress.settled.min(messages));
        bar.set_message(format!(
            "stored {}, rejected {}",
            grouped(progress.stored),
            grouped(progress.rejected)
        ));
        if progress.settled >= messages && dead_letters::count(client, url).await? == 0 {
            return Ok(progress);
        }
        if last.1.elapsed() > STALL {
            let left = dead_letters::count(client, url).await?;
            anyhow::bail!(
                "nothing has moved for {STALL:?}: {progress:?}, {left} messages still in the queue"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_from_both_ends_of_the_pipeline() {
        let reader = Metrics::parse(
            "veilpost_reader_settled_total{action=\"delete\"} 9\nveilpost_reader_settled_total{action=\"leave\"} 5\n\
             veilpost_reader_rejected_total{reason=\"not-json\"} 2\n",
        );
        let writer = Metrics::parse("veilpost_writer_records_total{outcome=\"stored\"} 7\n");
        let expected = Progress { settled: 9, stored: 7, duplicate: 0, rejected: 2 };
        assert_eq!(Progress::of(&reader, &writer), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn the_sender_waits_while_the_backlog_is_full() {
        let (sender, receiver) = watch::channel(0);
        admit(&receiver, MAX_BACKLOG - 1).await;
        assert!(tokio::time::timeout(STALL, admit(&receiver, MAX_BACKLOG)).await.is_err());
        sender.send_replace(1);
        admit(&receiver, MAX_BACKLOG).await;
    }
}
