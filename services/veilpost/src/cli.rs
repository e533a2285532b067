//! The commands, and how the process ends.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::certificates_command::{self, CertificatesSettings};
use crate::dead_letters_command::{self, DeadLettersSettings};
use crate::demo::{self, DemoSettings};
use crate::queue_command::{self, QueueSettings};
use crate::send_command::{self, SendSettings};
use veilpost_local::output::say;
use veilpost_local::process::{EndingSignals, until_signal};

/// Veilpost's command line: see the pipeline work, feed it, or run a queue for it
#[derive(Debug, Parser)]
#[command(name = "veilpost", version, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole pipeline on this machine: queue, reader, masker, writer and Postgres, with sample events
    Demo(DemoSettings),
    /// Send synthetic login events to a queue
    Send(SendSettings),
    /// Make a CA and a certificate for each service, for trials; with another CA in production
    Certificates(CertificatesSettings),
    /// Serve an SQS-compatible queue with a dead-letter queue, in memory
    Queue(QueueSettings),
    /// List the messages of a dead-letter queue and why they are there, without their bodies; takes none away
    DeadLetters(DeadLettersSettings),
}

/// Runs a command to its end.
pub fn run(cli: Cli) -> ExitCode {
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(dispatch(cli.command)));
    outcome.unwrap_or_else(|error| {
        say(&format!("veilpost: {error:#}"));
        ExitCode::FAILURE
    })
}

async fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    let mut signals = EndingSignals::install()?;
    match command {
        Command::Certificates(settings) => certificates_command::run(&settings),
        Command::Queue(settings) => queue_command::run(&settings, &mut signals).await,
        Command::Send(settings) => Box::pin(until_signal(&mut signals, send_command::run(&settings))).await,
        Command::DeadLetters(settings) => {
            Box::pin(until_signal(&mut signals, dead_letters_command::run(&settings))).await
        }
        Command::Demo(settings) => Box::pin(demo::run(&settings, &mut signals)).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
