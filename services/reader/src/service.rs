//! The reader, from its settings to the end of its drain.

use aws_config::SdkConfig;
use veilpost_runtime::Lifecycle;

use crate::client::{self, Clients};
use crate::pipeline::Pipeline;
use crate::preflight::Queues;
use crate::settings::Settings;

/// A reader that is ready to run.
#[derive(Debug)]
pub struct Reader {
    settings: Settings,
}

impl Reader {
    /// Fails where a setting can never work.
    pub fn new(settings: Settings) -> anyhow::Result<Self> {
        settings.check()?;
        Ok(Self { settings })
    }

    /// Reads until the drain, with region, endpoint and credentials from the environment.
    pub async fn run(self, lifecycle: Lifecycle) -> anyhow::Result<()> {
        let aws = tokio::select! {
            () = lifecycle.draining() => return Ok(()),
            aws = client::environment() => aws?,
        };
        self.run_with(&aws, lifecycle).await
    }

    /// Reads until the drain. Nothing is in flight when this returns: everything is settled or released.
    pub async fn run_with(self, aws: &SdkConfig, lifecycle: Lifecycle) -> anyhow::Result<()> {
        crate::metrics::describe();
        let identity = self.settings.tls.open(&lifecycle)?;
        let clients = Clients::new(aws, self.settings.wait())?;
        let Some(queues) = Queues::open(&clients, &self.settings, &lifecycle).await? else { return Ok(()) };
        let queue = queues.source.url();
        let pipeline = self.settings.pipeline.clone().unwrap_or_else(|| queues.source.name().to_owned());
        let rejected = if queues.dead_letters.is_some() { "dead-letter" } else { "leave" };
        tracing::info!(queue, pipeline, rejected, at = clients.place, "reading");
        lifecycle.set_ready(true);
        Pipeline::start(&self.settings, queues, pipeline, identity, lifecycle).ended().await;
        Ok(())
    }
}
