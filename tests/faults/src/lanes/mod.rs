//! The lanes of a schedule, side by side.

mod network;
mod postgres;
mod processes;
mod sqs;

use std::time::Duration;

use super::pipeline::ProxiedPipeline;
use super::schedule::Schedule;
use super::tally::Tally;

/// How long a fault waits for something that it can break.
const TARGET_PATIENCE: Duration = Duration::from_secs(30);

const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Runs all lanes to their ends; afterwards nothing is broken any more. An error is something that must not
/// happen whatever is broken, such as a process that ends by itself.
pub(super) async fn run(
    schedule: &Schedule,
    pipeline: &ProxiedPipeline,
    tally: &Tally,
) -> anyhow::Result<()> {
    let [processes, more_processes] = &schedule.processes;
    let lanes = tokio::try_join!(
        sqs::run(&schedule.sqs, pipeline, tally),
        network::run(&schedule.network, pipeline, tally),
        processes::run(processes, pipeline, tally),
        processes::run(more_processes, pipeline, tally),
        postgres::run(&schedule.postgres, pipeline, tally),
    );
    lanes.map(|_| ())
}
