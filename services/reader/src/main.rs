//! The program `veilpost-reader`.

use std::process::ExitCode;

fn main() -> ExitCode {
    veilpost_reader::run(std::env::args_os())
}
