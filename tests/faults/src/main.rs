//! The fault harness: breaks a whole pipeline on purpose, by a schedule that a seed replays, and accounts for
//! every message at the end. `tests/faults/run` builds what it needs and starts it.

mod backlog;
mod command;
mod constant;
mod database;
mod failover;
mod fault;
mod lanes;
mod load;
mod mix;
mod oracle;
mod pipeline;
mod record_file;
mod replica;
mod report;
mod round;
mod schedule;
mod seeded_rng;
mod small_disk;
mod summary;
mod tally;

use std::process::ExitCode;

use clap::Parser;
use veilpost_local::process::{EndingSignals, until_signal};

use command::FaultArguments;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = FaultArguments::parse();
    let mut signals = EndingSignals::install()?;
    // A signal drops what runs, which takes its processes with it.
    Box::pin(until_signal(&mut signals, arguments.run())).await
}
