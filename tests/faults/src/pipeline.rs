//! The pipeline under attack: two replicas of each service, with a proxy that can misbehave on every hop.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use tokio::sync::{Mutex, MutexGuard};
use veilpost_local::certificates::Role;
use veilpost_local::process::ServiceCommand;
use veilpost_local::queue::{CREDENTIALS, QueuePair, REGION};
use veilpost_testkit::{FaultProxy, Pki, SqsFaultProxy, Stack, Standstill, binary};

use crate::database::{self, FaultDatabase};
use crate::fault::Hop;
use crate::replica::Replica;
use crate::small_disk::SmallDisk;

const REPLICAS: usize = 2;

/// How the services are run: what can wait shortly does, so that much happens in a short time.
const READER: [(&str, &str); 4] = [
    ("--queue", "user-logins"),
    ("--dead-letter-queue-url", "user-logins-dead-letter"),
    ("--visibility-timeout", "4s"),
    ("--wait-time", "1s"),
];
const WRITER: [(&str, &str); 3] =
    [("--table", database::TABLE), ("--migrate", "false"), ("--statement-timeout", "2s")];

/// What a pipeline is started with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PipelineOptions {
    /// Whether the services speak mutual TLS with each other.
    pub(crate) encrypted: bool,
    /// Whether the table is on a file system that can be filled.
    pub(crate) small_disk: bool,
    /// After how many receives SQS itself moves a message to the dead-letter queue.
    pub(crate) max_receive_count: u32,
}

impl Default for PipelineOptions {
    /// SQS moves nothing by itself: it would do so without a reason.
    fn default() -> Self {
        Self { encrypted: false, small_disk: false, max_receive_count: 1000 }
    }
}

/// Everything is up from the start. Dropping it ends everything.
#[derive(Debug)]
pub(crate) struct ProxiedPipeline {
    readers: Vec<Mutex<Replica>>,
    maskers: Vec<Mutex<Replica>>,
    writers: Vec<Mutex<Replica>>,
    pub(crate) sqs_proxy: SqsFaultProxy,
    masker_proxies: Vec<FaultProxy>,
    writer_proxies: Vec<FaultProxy>,
    postgres_proxies: Vec<FaultProxy>,
    pub(crate) database: FaultDatabase,
    pub(crate) sqs: Client,
    pub(crate) pair: QueuePair,
    /// Where the table is; the error says why it is not on one.
    pub(crate) disk: Result<SmallDisk, String>,
    pki: Option<Pki>,
    stack: Mutex<Stack>,
    directory: PathBuf,
}

impl ProxiedPipeline {
    pub(crate) async fn start(options: PipelineOptions) -> anyhow::Result<Self> {
        let stack = Stack::bare().await?;
        let directory = stack.file("policy.toml", &database::policy())?;
        let directory = directory.parent().context("a file has a directory")?.to_owned();
        stack.file("keys", &database::keys())?;
        let disk = if options.small_disk {
            SmallDisk::mount(stack.postgres.directory().join("small"), stack.postgres.directory())
        } else {
            Err(anyhow::anyhow!("not wanted"))
        };
        let disk = disk.map_err(|error| format!("{error:#}"));
        let database = FaultDatabase::of(&stack.postgres);
        database.prepare(disk.as_ref().ok()).await?;
        let postgres = ([127, 0, 0, 1], stack.postgres.port()).into();
        let mut pipeline = Self {
            readers: Vec::new(),
            maskers: Vec::new(),
            writers: Vec::new(),
            sqs_proxy: SqsFaultProxy::before(stack.queue.address()).await?,
            masker_proxies: Vec::new(),
            writer_proxies: Vec::new(),
            postgres_proxies: vec![FaultProxy::before(postgres).await?],
            database,
            sqs: stack.sqs.clone(),
            pair: stack.pair.clone(),
            disk,
            pki: options.encrypted.then(Pki::new).transpose()?,
            stack: Mutex::new(stack),
            directory,
        };
        pipeline.set_receive_count(options.max_receive_count).await?;
        for role in [Role::Writer, Role::Masker, Role::Reader] {
            for number in 1..=REPLICAS {
                pipeline.add(role, number).await?;
            }
        }
        for role in Role::ALL {
            for replica in pipeline.replicas(role) {
                replica.lock().await.ready().await?;
            }
        }
        Ok(pipeline)
    }

    async fn set_receive_count(&self, receives: u32) -> anyhow::Result<()> {
        let queue = || self.sqs.get_queue_attributes();
        let arn = queue().queue_url(&self.pair.dead_letter_url).attribute_names(QueueAttributeName::QueueArn);
        let arn = arn.send().await?.attributes.unwrap_or_default();
        let arn = arn.get(&QueueAttributeName::QueueArn).context("a queue has an ARN")?;
        let policy = serde_json::json!({ "deadLetterTargetArn": arn, "maxReceiveCount": receives });
        let call = self.sqs.set_queue_attributes().queue_url(&self.pair.url);
        call.attributes(QueueAttributeName::RedrivePolicy, policy.to_string()).send().await?;
        Ok(())
    }

    async fn add(&mut self, role: Role, number: usize) -> anyhow::Result<()> {
        let directory = self.directory.join(format!("{}-{number}", role.name()));
        let replica = Replica::start(role, self.command(role, number)?, &directory).await?;
        match role {
            Role::Reader => {}
            Role::Masker => self.masker_proxies.push(FaultProxy::before(replica.address()?).await?),
            Role::Writer => self.writer_proxies.push(FaultProxy::before(replica.address()?).await?),
        }
        let replicas = match role {
            Role::Reader => &mut self.readers,
            Role::Masker => &mut self.maskers,
            Role::Writer => &mut self.writers,
        };
        replicas.push(Mutex::new(replica));
        Ok(())
    }

    fn command(&self, role: Role, number: usize) -> anyhow::Result<ServiceCommand> {
        let name = role.name();
        let with = |command: ServiceCommand, arguments: &[(&str, &str)]| {
            arguments.iter().fold(command, |command, (flag, value)| command.arg(flag, *value))
        };
        let command = ServiceCommand::new(&format!("{name}-{number}"), binary(&format!("veilpost-{name}"))?);
        let files = self.pki.as_ref().map(|pki| pki.files_of(role)).transpose()?;
        let flags = files.map(|files| files.flags()).unwrap_or_default();
        let command = flags.into_iter().fold(command, |command, (flag, file)| command.arg(flag, file));
        Ok(match role {
            Role::Reader => with(command, &READER)
                .arg("--downstream", self.uris(&self.masker_proxies))
                .env("AWS_ENDPOINT_URL", self.sqs_proxy.endpoint())
                .env("AWS_REGION", REGION)
                .env("AWS_ACCESS_KEY_ID", CREDENTIALS.0)
                .env("AWS_SECRET_ACCESS_KEY", CREDENTIALS.1),
            Role::Masker => command
                .arg("--downstream", self.uris(&self.writer_proxies))
                .arg("--policy", self.directory.join("policy.toml").to_string_lossy())
                .arg("--hmac-keys-file", self.directory.join("keys").to_string_lossy()),
            Role::Writer => {
                let port = self.postgres_proxies.first().map_or(0, |proxy| proxy.address().port());
                with(command, &WRITER).env("DATABASE_URL", FaultDatabase::writers_url(port))
            }
        })
    }

    fn uris(&self, proxies: &[FaultProxy]) -> String {
        let scheme = if self.pki.is_some() { "https" } else { "http" };
        proxies.iter().map(|proxy| format!("{scheme}://{}", proxy.address())).collect::<Vec<_>>().join(",")
    }

    pub(crate) fn replicas(&self, role: Role) -> &[Mutex<Replica>] {
        match role {
            Role::Reader => &self.readers,
            Role::Masker => &self.maskers,
            Role::Writer => &self.writers,
        }
    }

    pub(crate) fn proxies(&self, hop: Hop) -> &[FaultProxy] {
        match hop {
            Hop::Masker => &self.masker_proxies,
            Hop::Writer => &self.writer_proxies,
            Hop::Postgres => &self.postgres_proxies,
        }
    }

    /// Queue, dead-letter queue and Postgres.
    pub(crate) async fn stack(&self) -> MutexGuard<'_, Stack> {
        self.stack.lock().await
    }

    /// Messages in the queue: waiting, and hidden.
    pub(crate) async fn depth(&self) -> anyhow::Result<(i64, i64)> {
        self.stack.lock().await.depth(&self.pair.url).await
    }

    /// Waits until the queue is empty and returns how long it took. It must get shorter all the while, and no
    /// process may end.
    pub(crate) async fn drained(&self, standstill: Standstill) -> anyhow::Result<Duration> {
        self.stack.lock().await.queue_drains(standstill, async || self.ensure_running().await).await
    }

    pub(crate) async fn ensure_running(&self) -> anyhow::Result<()> {
        for role in Role::ALL {
            for replica in self.replicas(role) {
                replica.lock().await.ensure_running()?;
            }
        }
        Ok(())
    }

    /// The most memory that a replica of this role has had.
    pub(crate) async fn peak_memory(&self, role: Role) -> u64 {
        let mut peak = 0;
        for replica in self.replicas(role) {
            peak = peak.max(replica.lock().await.peak_memory());
        }
        peak
    }

    /// SIGTERM to all, readers first; each must exit with status 0.
    pub(crate) async fn terminate(&self) -> anyhow::Result<()> {
        for role in Role::ALL {
            for replica in self.replicas(role) {
                replica.lock().await.terminate().await?;
            }
        }
        Ok(())
    }

    /// Copies all logs to where they outlive this pipeline, and says where.
    pub(crate) async fn keep_logs(&self, round: &str) -> anyhow::Result<()> {
        let kept = std::env::temp_dir().join(format!("veilpost-faults-{}", round.replace(' ', "-")));
        tokio::fs::create_dir_all(&kept).await?;
        for (path, text) in self.logs().await? {
            let name = path.file_name().unwrap_or_default();
            tokio::fs::write(kept.join(name), text).await?;
        }
        veilpost_local::output::say(&format!("the logs of {round} are kept in {}", kept.display()));
        Ok(())
    }

    /// Everything that services have logged so far.
    pub(crate) async fn logs(&self) -> anyhow::Result<Vec<(PathBuf, String)>> {
        self.stack.lock().await.logs()
    }
}
