//! Runs the writer, or its migrations.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use clap::Parser;
use veilpost_writer::{Arguments, Writer, WriterCommand, migrate};

fn main() -> ExitCode {
    let Arguments { command, settings } = Arguments::parse();
    match command {
        Some(WriterCommand::Migrate(settings)) => {
            let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            veilpost_runtime::run("writer", &settings.common.clone(), any_port, async move |life| {
                migrate(settings, life).await
            })
        }
        None => veilpost_runtime::run(
            "writer",
            &settings.common.clone(),
            settings.admin_address,
            async move |life| Writer::new(settings)?.run(life).await,
        ),
    }
}
