//! Readers, maskers and writers as processes, one or several of each.

use std::path::{Path, PathBuf};
use std::time::Duration;

use veilpost_local::process::{ServiceCommand, ServiceProcess};
use veilpost_local::queue::{CREDENTIALS, REGION};
use veilpost_testkit::Executables;

use crate::cpu::cpu_of;
use crate::queue::QueueProcess;

const DRAIN_PATIENCE: Duration = Duration::from_secs(40);

/// What to start.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) readers: u32,
    pub(crate) maskers: u32,
    pub(crate) writers: u32,
    pub(crate) queue_url: String,
    /// Where readers find the queue, when it is not where it is.
    pub(crate) queue_endpoint: Option<String>,
    /// Where maskers send when there are no writers.
    pub(crate) masker_downstream: String,
    pub(crate) policy: Option<PathBuf>,
    pub(crate) table: String,
    pub(crate) reader_arguments: Vec<(&'static str, String)>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            readers: 1,
            maskers: 1,
            writers: 1,
            queue_url: String::new(),
            queue_endpoint: None,
            masker_downstream: String::new(),
            policy: None,
            table: "user_logins".to_owned(),
            reader_arguments: Vec::new(),
        }
    }
}

/// Running services, in the order in which they are dropped.
#[derive(Debug, Default)]
pub(crate) struct Replicas {
    pub(crate) readers: Vec<ServiceProcess>,
    pub(crate) maskers: Vec<ServiceProcess>,
    pub(crate) writers: Vec<ServiceProcess>,
}

/// CPU time by service, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReplicasCpu {
    pub(crate) reader: f64,
    pub(crate) masker: f64,
    pub(crate) writer: f64,
}

impl ReplicasCpu {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            reader: self.reader - before.reader,
            masker: self.masker - before.masker,
            writer: self.writer - before.writer,
        }
    }
}

impl Replicas {
    pub(crate) async fn start(
        executables: &Executables,
        queue: &QueueProcess,
        database_url: &str,
        directory: &Path,
        plan: &Plan,
    ) -> anyhow::Result<Self> {
        let mut replicas = Self::default();
        for number in 0..plan.writers {
            let writer = serving(executables, "writer", number).env("DATABASE_URL", database_url);
            let writer = writer.arg("--table", &plan.table).start(directory)?;
            replicas.writers.push(ready(writer).await?);
        }
        for number in 0..plan.maskers {
            let writers = uris(&mut replicas.writers, &plan.masker_downstream).await?;
            let mut masker = serving(executables, "masker", number).arg("--downstream", writers);
            if let Some(policy) = &plan.policy {
                masker = masker.arg("--policy", policy.display().to_string());
            }
            replicas.maskers.push(ready(masker.start(directory)?).await?);
        }
        for number in 0..plan.readers {
            let maskers = uris(&mut replicas.maskers, "").await?;
            let name = format!("reader-{number}");
            let reader = reader(executables, &name, queue, plan).arg("--downstream", maskers);
            replicas.readers.push(ready(reader.start(directory)?).await?);
        }
        Ok(replicas)
    }

    fn each(&mut self) -> impl Iterator<Item = &mut ServiceProcess> {
        self.readers.iter_mut().chain(&mut self.maskers).chain(&mut self.writers)
    }

    pub(crate) fn cpu(&self) -> anyhow::Result<ReplicasCpu> {
        let sum = |services: &[ServiceProcess]| {
            services.iter().map(|service| cpu_of(service.pid())).sum::<Result<_, _>>()
        };
        Ok(ReplicasCpu {
            reader: sum(&self.readers)?,
            masker: sum(&self.maskers)?,
            writer: sum(&self.writers)?,
        })
    }

    pub(crate) fn ensure_running(&mut self) -> anyhow::Result<()> {
        self.each().try_for_each(ServiceProcess::ensure_running)
    }

    /// Drains all, readers first; each must exit with status 0.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        for service in self.each() {
            let status = service.stop(DRAIN_PATIENCE).await?;
            let (name, tail) = (service.name(), service.log_tail());
            anyhow::ensure!(status.success(), "{name} stopped with {status}; its log ends:\n{tail}");
        }
        Ok(())
    }
}

/// A service with a gRPC port of its own.
pub(crate) fn serving(executables: &Executables, service: &str, number: u32) -> ServiceCommand {
    executables.command(service, &format!("{service}-{number}")).arg("--listen-address", "127.0.0.1:0")
}

/// Idle polls are short, so that the end of a measurement does not wait for them.
pub(crate) fn reader(
    executables: &Executables,
    name: &str,
    queue: &QueueProcess,
    plan: &Plan,
) -> ServiceCommand {
    let (key, secret) = CREDENTIALS;
    let reader = executables
        .command("reader", name)
        .arg("--queue", &plan.queue_url)
        .arg("--dead-letter-queue-url", &queue.dead_letter_url)
        .arg("--wait-time", "1s")
        .env("AWS_ENDPOINT_URL", plan.queue_endpoint.as_ref().unwrap_or(&queue.endpoint))
        .env("AWS_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", key)
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .env("AWS_EC2_METADATA_DISABLED", "true");
    plan.reader_arguments.iter().fold(reader, |reader, (flag, value)| reader.arg(flag, value))
}

async fn ready(mut service: ServiceProcess) -> anyhow::Result<ServiceProcess> {
    service.ready().await?;
    Ok(service)
}

async fn uris(services: &mut [ServiceProcess], otherwise: &str) -> anyhow::Result<String> {
    let mut uris = Vec::new();
    for service in services {
        uris.push(format!("http://{}", service.grpc_address().await?));
    }
    Ok(if uris.is_empty() { otherwise.to_owned() } else { uris.join(",") })
}
