//! The `veilpost` command.

use std::process::ExitCode;

use clap::Parser;
use veilpost::Cli;

fn main() -> ExitCode {
    veilpost::run(Cli::parse())
}
