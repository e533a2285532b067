//! The program `veilpost-masker`.

use std::process::ExitCode;

fn main() -> ExitCode {
    veilpost_masker::run(std::env::args_os())
}
