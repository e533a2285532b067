//! `veilpost send`: synthetic login events for any queue.

use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use veilpost_local::events::{DEFAULT_SEED, ExpectedOutcome, SampleEvents, Shape};
use veilpost_local::numbers::{float, whole};
use veilpost_local::output::{grouped, print, say};
use veilpost_local::queue::{QueueClient, Sender};
use veilpost_runtime::telemetry;

use crate::progress::progress;

#[derive(Args, Clone, Debug)]
pub(crate) struct SendSettings {
    /// The queue's URL or name; region, credentials and endpoint come from the AWS_* variables and files
    #[arg(long, env = "VEILPOST_QUEUE", value_name = "URL|NAME", help_heading = "Queue")]
    queue: String,

    /// How many batches of ten are in flight at once
    #[arg(long, env = "VEILPOST_SEND_CONCURRENCY", default_value_t = 8, value_name = "BATCHES", help_heading = "Queue",
          value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,

    /// Messages a second [default: as fast as the queue accepts them]
    #[arg(long, env = "VEILPOST_SEND_RATE", value_name = "PER SECOND", help_heading = "Queue",
          value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,

    /// How many events to send
    #[arg(long, env = "VEILPOST_SEND_COUNT", default_value_t = 100, help_heading = "Events")]
    count: u64,

    #[command(flatten)]
    mix: EventMix,
}

/// The kinds of events.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct EventMix {
    /// Share of odd events, 0 to 1; half of them must be rejected
    #[arg(long, env = "VEILPOST_ODD", default_value = "0.2", value_parser = parse_share, value_name = "SHARE",
          help_heading = "Events")]
    odd: u64,

    /// The same seed gives the same events
    #[arg(long, env = "VEILPOST_SEED", default_value_t = DEFAULT_SEED, help_heading = "Events")]
    seed: u64,
}

impl EventMix {
    pub(crate) fn events(self) -> SampleEvents {
        SampleEvents::new(self.seed, self.odd)
    }
}

/// A share of 0 to 1, in millionths.
fn parse_share(text: &str) -> Result<u64, String> {
    let share: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    if (0.0..=1.0).contains(&share) {
        Ok(whole(share * 1e6))
    } else {
        Err("write a share of 0 to 1".to_owned())
    }
}

pub(crate) async fn run(settings: &SendSettings) -> anyhow::Result<ExitCode> {
    let traces = telemetry::export_traces("producer");
    if let Err(error) = &traces {
        say(&format!("traces are off: {error:#}"));
    }
    let queue = QueueClient::find(&settings.queue).await?;
    let concurrency = settings.concurrency.into();
    let sender = Sender { queue, concurrency, rate: settings.rate, traced: true };
    let bar = progress(settings.count);
    let started = Instant::now();
    let advance = |batch: Vec<_>| bar.inc(u64::try_from(batch.len()).unwrap_or_default());
    let result = sender.send(settings.mix.events(), settings.count, async |_| (), advance).await;
    bar.finish_and_clear();
    if let Ok(traces) = traces {
        traces.flush().await;
    }
    result?;
    print(&summary(settings, &sender.queue.url, started.elapsed().as_secs_f64()))?;
    Ok(ExitCode::SUCCESS)
}

fn summary(settings: &SendSettings, url: &str, seconds: f64) -> String {
    let events = settings.mix.events();
    let (mut odd, mut rejected) = (0, 0);
    for shape in (0..settings.count).map(|number| events.shape(number)) {
        odd += u64::from(shape != Shape::Normal);
        rejected += u64::from(shape.expected_outcome() != ExpectedOutcome::Stored);
    }
    format!(
        "Sent {} messages to {url}\nin {seconds:.1} s, {} a second; {} are odd, {} of those to be rejected.\n",
        grouped(settings.count),
        grouped(whole(float(settings.count) / seconds.max(0.001))),
        grouped(odd),
        grouped(rejected),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_go_from_nothing_to_all() {
        assert_eq!(parse_share("0.2"), Ok(200_000));
        assert_eq!(parse_share("1"), Ok(1_000_000));
        assert!(parse_share("1.1").is_err());
        assert!(parse_share("NaN").is_err());
        assert!(parse_share("half").is_err());
    }
}
