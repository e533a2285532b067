//! The fault harness as a command; `tests/faults/run` builds what it needs and starts it.

use std::process::ExitCode;

use clap::Parser;
use veilpost_local::process::{EndingSignals, until_signal};
use veilpost_tests::faults::Arguments;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut signals = EndingSignals::install()?;
    // What runs is dropped when a signal comes, and takes its processes with it.
    until_signal(&mut signals, arguments.run()).await
}
