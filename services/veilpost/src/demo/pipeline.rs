//! The three services as processes over loopback.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use super::report::Memory;
use veilpost_local::process::{ServiceCommand, ServiceProcess};
use veilpost_local::queue::{CREDENTIALS, QueuePair, REGION};

/// Longer than the services' own grace period.
const DRAIN_PATIENCE: Duration = Duration::from_secs(40);

/// Declared in the order in which they are dropped: upstream first.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) reader: ServiceProcess,
    pub(super) masker: ServiceProcess,
    pub(super) writer: ServiceProcess,
}

/// What the services are connected to.
pub(super) struct Surroundings<'a> {
    pub(super) endpoint: &'a str,
    pub(super) queue: &'a QueuePair,
    pub(super) database_url: &'a str,
    pub(super) pipeline: &'a str,
    /// Where the logs go.
    pub(super) directory: &'a Path,
}

impl Pipeline {
    /// Starts them from the end: each one finds its downstream there.
    pub(super) async fn start(around: &Surroundings<'_>) -> anyhow::Result<Self> {
        let writer = service("writer")?.arg("--listen-address", "127.0.0.1:0");
        let mut writer = writer.env("DATABASE_URL", around.database_url).start(around.directory)?;
        writer.ready().await?;
        let masker = service("masker")?.arg("--listen-address", "127.0.0.1:0");
        let downstream = format!("http://{}", writer.grpc_address().await?);
        let mut masker = masker.arg("--downstream", downstream).start(around.directory)?;
        masker.ready().await?;
        let downstream = format!("http://{}", masker.grpc_address().await?);
        let mut reader = start_reader(around, downstream)?;
        reader.ready().await?;
        Ok(Self { reader, masker, writer })
    }

    fn each(&mut self) -> [&mut ServiceProcess; 3] {
        [&mut self.reader, &mut self.masker, &mut self.writer]
    }

    pub(super) fn ensure_running(&mut self) -> anyhow::Result<()> {
        self.each().into_iter().try_for_each(ServiceProcess::ensure_running)
    }

    /// Drains all three, the reader first; each must exit with status 0.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        for service in self.each() {
            let status = service.stop(DRAIN_PATIENCE).await?;
            let name = service.name();
            anyhow::ensure!(
                status.success(),
                "{name} stopped with {status}; its log ends:\n{}",
                service.log_tail()
            );
        }
        Ok(())
    }

    /// The directory of the services' logs.
    pub(super) fn logs(&self) -> &Path {
        self.reader.log_file().parent().unwrap_or(Path::new("."))
    }

    /// What the services have complained about, one line each.
    pub(super) fn problems(&self) -> String {
        let services = [&self.reader, &self.masker, &self.writer];
        let lines = services.into_iter().flat_map(|service| {
            service.problems().into_iter().map(|problem| format!("\n  {}: {problem}", service.name()))
        });
        lines.collect()
    }

    pub(super) fn memory(&self) -> Memory {
        let peak = |service: &ServiceProcess| service.peak_memory();
        Memory::new(peak(&self.reader), peak(&self.masker), peak(&self.writer))
    }

    /// Where metrics and health are, by service.
    pub(super) async fn admin_addresses(&mut self) -> anyhow::Result<Vec<(String, String)>> {
        let mut found = Vec::new();
        for service in self.each() {
            let address = service.admin_address().await?;
            found.push((service.name().to_owned(), format!("http://{address}")));
        }
        Ok(found)
    }
}

/// An idle poll is short, so that the end of the demo does not wait for it.
fn start_reader(around: &Surroundings<'_>, downstream: String) -> anyhow::Result<ServiceProcess> {
    let (key, secret) = CREDENTIALS;
    service("reader")?
        .arg("--queue", &around.queue.url)
        .arg("--dead-letter-queue-url", &around.queue.dead_letter_url)
        .arg("--pipeline", around.pipeline)
        .arg("--downstream", downstream)
        .arg("--wait-time", "1s")
        .env("AWS_ENDPOINT_URL", around.endpoint)
        .env("AWS_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", key)
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .start(around.directory)
        .context("cannot start the reader")
}

/// This program once more, as the service `name`.
fn service(name: &str) -> anyhow::Result<ServiceCommand> {
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    Ok(ServiceCommand::within(name, program, name))
}
