//! `veilpost-bench`: how fast Veilpost is, compared with how fast it could be.

mod bodies;
mod cpu;
mod feed;
mod figures;
mod queue;
mod replicas;
mod report;
mod run;
mod sections;
mod sender;
mod settings;
mod testbed;
mod worker;

use std::process::ExitCode;

use clap::Parser;
use veilpost_local::output::say;
use veilpost_local::process::{EndingSignals, until_signal};

use settings::{BenchArguments, BenchCommand};

fn main() -> ExitCode {
    let arguments = BenchArguments::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(interruptible(arguments)));
    outcome.unwrap_or_else(|error| {
        say(&format!("veilpost-bench: {error:#}"));
        ExitCode::FAILURE
    })
}

/// A signal drops what runs, which ends everything that it has started.
async fn interruptible(arguments: BenchArguments) -> anyhow::Result<ExitCode> {
    let mut signals = EndingSignals::install()?;
    Box::pin(until_signal(&mut signals, dispatch(arguments))).await
}

async fn dispatch(arguments: BenchArguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        None => Box::pin(run::run(arguments.settings)).await,
        Some(BenchCommand::Check) => report::check(),
        Some(BenchCommand::Render) => report::render(),
        Some(BenchCommand::Worker(work)) => work.run().await,
    }
}
