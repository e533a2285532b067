//! The reader's process.

use std::process::ExitCode;

use clap::Parser;
use veilpost_reader::{Reader, Settings};

fn main() -> ExitCode {
    let settings = Settings::parse();
    let common = settings.common.clone();
    veilpost_runtime::run("reader", &common, settings.admin_address, async move |lifecycle| {
        Reader::new(settings)?.run(lifecycle).await
    })
}
