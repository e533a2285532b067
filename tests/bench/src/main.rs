//! `veilpost-bench`: how fast Veilpost is, beside how fast it could be.

mod bodies;
mod cpu;
mod distance;
mod feed;
mod figures;
mod fleet;
mod queue;
mod report;
mod run;
mod sections;
mod sender;
mod settings;
mod worker;
mod world;

use std::process::ExitCode;

use clap::Parser;
use veilpost::output::say;
use veilpost::process::EndingSignals;

use settings::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(until_signal(arguments)));
    outcome.unwrap_or_else(|error| {
        say(&format!("veilpost-bench: {error:#}"));
        ExitCode::FAILURE
    })
}

/// A signal drops what runs, which ends everything that it has started.
async fn until_signal(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut signals = EndingSignals::install()?;
    tokio::select! {
        result = Box::pin(dispatch(arguments)) => result,
        () = signals.next() => Ok(ExitCode::from(130)),
    }
}

async fn dispatch(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        None => Box::pin(run::run(arguments.settings)).await,
        Some(Command::Check) => report::check(),
        Some(Command::Render) => report::render(),
        Some(Command::Worker(work)) => work.run().await,
    }
}
