//! The program `veilpost-writer`.

use std::process::ExitCode;

fn main() -> ExitCode {
    veilpost_writer::run(std::env::args_os())
}
