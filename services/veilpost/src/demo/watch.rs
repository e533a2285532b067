//! Follows the pipeline by its metrics until every message has been settled.

use std::time::Duration;

use aws_sdk_sqs::Client;
use indicatif::ProgressBar;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::dead_letters;
use super::pipeline::Pipeline;
use veilpost_local::numbers::whole;
use veilpost_local::output::{grouped, say};
use veilpost_local::process::Metrics;

/// Reading metrics costs the services a little, and they share the processors with everything here.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// If no message is settled for this long, a person is told what the services complain about.
const QUIET: Duration = Duration::from_secs(10);

/// If no message is settled for this long, something is stuck.
const STALL: Duration = Duration::from_mins(1);

/// How many messages may wait in the embedded queue, which holds them in memory.
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

/// What has not changed, and for how long.
struct Standstill {
    progress: Progress,
    since: Instant,
    was_told: bool,
}

/// What a look at the progress found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Moving,
    /// Said once for each standstill.
    Quiet,
    Stuck,
}

impl Standstill {
    fn new() -> Self {
        Self { progress: Progress::default(), since: Instant::now(), was_told: false }
    }

    fn note(&mut self, progress: Progress) -> Pace {
        if progress != self.progress {
            *self = Self { progress, ..Self::new() };
        }
        match self.since.elapsed() {
            still if still > STALL => Pace::Stuck,
            still if still > QUIET && !self.was_told => {
                self.was_told = true;
                Pace::Quiet
            }
            _ => Pace::Moving,
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
    let mut standstill = Standstill::new();
    loop {
        sleep(LOOK_AGAIN).await;
        let progress = look(pipeline).await?;
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
        match standstill.note(progress) {
            Pace::Moving => {}
            Pace::Quiet => bar.suspend(|| say(&quiet(pipeline))),
            Pace::Stuck => anyhow::bail!(stuck(messages, progress, dead_letters::count(client, url).await?)),
        }
    }
}

/// What the services have counted. One that has ended is named with the end of its log.
async fn look(pipeline: &mut Pipeline) -> anyhow::Result<Progress> {
    let reader = pipeline.reader.metrics().await;
    let writer = pipeline.writer.metrics().await;
    pipeline.ensure_running()?;
    Ok(Progress::of(&reader?, &writer?))
}

fn quiet(pipeline: &Pipeline) -> String {
    let problems = pipeline.problems();
    let causes = if problems.is_empty() { " no service has logged a warning".to_owned() } else { problems };
    let logs = pipeline.logs().display();
    format!("Nothing has been settled for {} s:{causes}\n  The logs are in {logs}", QUIET.as_secs())
}

fn stuck(messages: u64, progress: Progress, left: u64) -> String {
    let Progress { settled, stored, rejected, .. } = progress;
    format!(
        "nothing has been settled for {} s: {settled} of {messages} messages are settled, {stored} stored, \
         {rejected} rejected, {left} still in the queue",
        STALL.as_secs()
    )
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
    async fn a_standstill_is_told_once_and_is_an_error_after_a_minute() {
        let mut standstill = Standstill::new();
        let one = Progress { settled: 1, ..Progress::default() };
        let paces = async |standstill: &mut Standstill, progress, seconds: &[u64]| {
            let mut paces = Vec::new();
            for seconds in seconds {
                sleep(Duration::from_secs(*seconds)).await;
                paces.push(standstill.note(progress));
            }
            paces
        };
        let first = paces(&mut standstill, Progress::default(), &[9, 2, 2]).await;
        assert_eq!(first, [Pace::Moving, Pace::Quiet, Pace::Moving]);
        let second = paces(&mut standstill, one, &[0, 11, 40, 10]).await;
        assert_eq!(second, [Pace::Moving, Pace::Quiet, Pace::Moving, Pace::Stuck]);
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
