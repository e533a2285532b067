//! The commands, and how the process ends.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::certificates_command::{self, CertificatesSettings};
use crate::dead_letters_command::{self, DeadLettersSettings};
use crate::demo::{self, DemoSettings};
use crate::policy_command::{self, PolicyCommand};
use crate::queue_command::{self, QueueSettings};
use crate::send_command::{self, SendSettings};
use veilpost_local::output::say;
use veilpost_local::process::{EndingSignals, until_signal};

/// Veilpost's command line: see the pipeline work, feed it, or run a part of it
#[derive(Debug, Parser)]
#[command(name = "veilpost", version = veilpost_version::VERSION, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Tool(Tool),
    #[command(flatten)]
    Service(Service),
}

#[derive(Debug, Subcommand)]
enum Tool {
    /// Run the whole pipeline on this machine: queue, reader, masker, writer and Postgres, with sample events
    Demo(DemoSettings),
    /// Send synthetic login events to a queue
    Send(SendSettings),
    /// Make a CA and a certificate for each service, for trials; in production use your own CA
    Certificates(CertificatesSettings),
    /// Try a policy on sample messages before it runs
    Policy(PolicyCommand),
    /// Serve an SQS-compatible queue with a dead-letter queue, in memory
    Queue(QueueSettings),
    /// List the rejection reasons in a dead-letter queue; shows no bodies and removes nothing
    DeadLetters(DeadLettersSettings),
}

#[derive(Debug, Subcommand)]
enum Service {
    /// Run a reader, as the program veilpost-reader does and with its flags
    #[command(disable_help_flag = true)]
    Reader(ServiceArguments),
    /// Run a masker, as the program veilpost-masker does and with its flags
    #[command(disable_help_flag = true)]
    Masker(ServiceArguments),
    /// Run a writer, as the program veilpost-writer does and with its flags
    #[command(disable_help_flag = true)]
    Writer(ServiceArguments),
}

/// What the service's own command line reads, `--help` included.
#[derive(Args, Debug)]
struct ServiceArguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    arguments: Vec<OsString>,
}

impl ServiceArguments {
    fn after(self, program: &str) -> impl Iterator<Item = OsString> {
        std::iter::once(program.into()).chain(self.arguments)
    }
}

/// Runs a command to its end.
pub fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Tool(tool) => run_tool(tool),
        Command::Service(service) => run_service(service),
    }
}

/// A service makes its own asynchronous runtime and handles signals itself.
fn run_service(service: Service) -> ExitCode {
    match service {
        Service::Reader(service) => veilpost_reader::run(service.after("veilpost reader")),
        Service::Masker(service) => veilpost_masker::run(service.after("veilpost masker")),
        Service::Writer(service) => veilpost_writer::run(service.after("veilpost writer")),
    }
}

fn run_tool(tool: Tool) -> ExitCode {
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(dispatch(tool)));
    outcome.unwrap_or_else(|error| {
        say(&format!("veilpost: {error:#}"));
        ExitCode::FAILURE
    })
}

async fn dispatch(tool: Tool) -> anyhow::Result<ExitCode> {
    let mut signals = EndingSignals::install()?;
    match tool {
        Tool::Certificates(settings) => certificates_command::run(&settings),
        Tool::Policy(command) => policy_command::run(&command),
        Tool::Queue(settings) => queue_command::run(&settings, &mut signals).await,
        Tool::Send(settings) => Box::pin(until_signal(&mut signals, send_command::run(&settings))).await,
        Tool::DeadLetters(settings) => {
            Box::pin(until_signal(&mut signals, dead_letters_command::run(&settings))).await
        }
        Tool::Demo(settings) => Box::pin(demo::run(&settings, &mut signals)).await,
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

    #[test]
    fn a_service_gets_every_argument_behind_its_name() {
        let cli = Cli::parse_from(["veilpost", "writer", "--help", "migrate", "--table", "t"]);
        let Command::Service(Service::Writer(arguments)) = cli.command else { panic!("not the writer") };
        let arguments: Vec<_> = arguments.after("veilpost writer").collect();
        assert_eq!(arguments, ["veilpost writer", "--help", "migrate", "--table", "t"]);
    }
}
