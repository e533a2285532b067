//! The fault harness as a command; `tests/faults/run` builds what it needs and starts it.

use std::process::ExitCode;

use clap::Parser;
use veilpost_tests::faults::Arguments;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    Arguments::parse().run().await
}
