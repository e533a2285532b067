//! The reader, from its settings to the end of its drain.

use std::ffi::OsString;
use std::process::ExitCode;

use aws_config::SdkConfig;
use clap::Parser;
use veilpost_runtime::Lifecycle;

use crate::client::{self, Clients};
use crate::preflight::Queues;
use crate::settings::Settings;
use crate::stages::Stages;

/// The process of the reader: reads its command line, whose first argument is the name of the program, and
/// runs until the service is drained. Ends the process with exit status 2 when the command line is wrong.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let settings = Settings::parse_from(arguments);
    let common = settings.common.clone();
    veilpost_runtime::run("reader", &common, settings.admin_address, async move |lifecycle| {
        Reader::new(settings)?.run(lifecycle).await
    })
}

/// A reader that is ready to run.
#[derive(Debug)]
pub struct Reader {
    settings: Settings,
}

impl Reader {
    /// A reader with these settings.
    ///
    /// # Errors
    /// When a setting can never work.
    pub fn new(settings: Settings) -> anyhow::Result<Self> {
        settings.check()?;
        Ok(Self { settings })
    }

    /// Reads until the drain, with region, endpoint and credentials from the environment.
    ///
    /// # Errors
    /// As [`Self::run_with`], and when the environment names no region or an unusable `AWS_CA_BUNDLE`.
    pub async fn run(self, lifecycle: Lifecycle) -> anyhow::Result<()> {
        let aws = tokio::select! {
            () = lifecycle.draining() => return Ok(()),
            aws = client::environment() => aws?,
        };
        self.run_with(&aws, lifecycle).await
    }

    /// Reads until the drain. Nothing is in flight when this returns: everything is settled or released.
    ///
    /// # Errors
    /// When the TLS files cannot be used, or a queue cannot be used and waiting cannot help. A queue that is
    /// missing or does not answer is no error: it is waited for.
    pub async fn run_with(self, aws: &SdkConfig, lifecycle: Lifecycle) -> anyhow::Result<()> {
        crate::metrics::describe();
        let identity = self.settings.tls.open(&lifecycle)?;
        let clients = Clients::new(aws, self.settings.wait())?;
        let queues = Box::pin(Queues::open(&clients, &self.settings, &lifecycle)).await?;
        let Some(queues) = queues else { return Ok(()) };
        let queue = queues.source.url();
        let pipeline = self.settings.pipeline.clone().unwrap_or_else(|| queues.source.name().to_owned());
        let rejected = if queues.dead_letters.is_some() { "dead-letter" } else { "leave" };
        tracing::info!(queue, pipeline, rejected, at = clients.place, "reader started");
        lifecycle.set_ready(true);
        Stages::start(&self.settings, queues, pipeline, identity, lifecycle).ended().await;
        Ok(())
    }
}
