//! The lanes of a schedule, side by side.

mod network;
mod postgres;
mod processes;
mod sqs;

use std::time::Duration;

use super::schedule::Schedule;
use super::tally::Tally;
use super::world::World;

/// How long is waited for something that a fault could break.
const PREY: Duration = Duration::from_secs(30);

const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Runs all lanes to their ends; afterwards nothing is broken any more. An error is something that must not happen
/// whatever is broken, such as a process that ends by itself.
pub(super) async fn run(schedule: &Schedule, world: &World, tally: &Tally) -> anyhow::Result<()> {
    let [processes, more_processes] = &schedule.processes;
    let lanes = tokio::try_join!(
        sqs::run(&schedule.sqs, world, tally),
        network::run(&schedule.network, world, tally),
        processes::run(processes, world, tally),
        processes::run(more_processes, world, tally),
        postgres::run(&schedule.postgres, world, tally),
    );
    lanes.map(|_| ())
}
