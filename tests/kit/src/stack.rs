//! A whole pipeline for one test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use aws_sdk_sqs::Client;
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use veilpost_local::certificates::Role;
use veilpost_local::postgres::{ThrowAwayPostgres, find_or_install};
use veilpost_local::process::{ServiceCommand, ServiceProcess};
use veilpost_local::queue::{CREDENTIALS, EmbeddedQueue, QueuePair, REGION};

use crate::{Pki, binary, eventually};

/// How long a service may take to drain: longer than its own grace period.
const DRAIN: Duration = Duration::from_secs(40);

/// A queue and a database, which run from the start, and the services that the test starts. Dropping it ends
/// them all.
#[derive(Debug)]
pub struct Stack {
    pub writers: Vec<ServiceProcess>,
    pub maskers: Vec<ServiceProcess>,
    pub readers: Vec<ServiceProcess>,
    pub queue: EmbeddedQueue,
    pub pair: QueuePair,
    pub sqs: Client,
    pub postgres: ThrowAwayPostgres,
    /// Environment variables for the services that are started from now on.
    pub variables: Vec<(String, String)>,
    /// If set, services that are started from now on use TLS.
    pub pki: Option<Pki>,
    directory: TempDir,
    started: usize,
}

impl Stack {
    /// Queue, dead-letter queue and an empty database.
    pub async fn bare() -> anyhow::Result<Self> {
        let queue = EmbeddedQueue::start(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let pair = queue.create_pair("user-logins", "user-logins-dead-letter")?;
        let postgres = ThrowAwayPostgres::start(find_or_install(|_| {}).await?).await?;
        Ok(Self {
            writers: Vec::new(),
            maskers: Vec::new(),
            readers: Vec::new(),
            sqs: queue.client(),
            queue,
            pair,
            postgres,
            variables: Vec::new(),
            pki: None,
            directory: tempfile::tempdir()?,
            started: 0,
        })
    }

    /// One of each service, running.
    pub async fn running() -> anyhow::Result<Self> {
        let mut stack = Self::bare().await?;
        stack.start_writer(&[]).await?;
        stack.start_masker(&[]).await?;
        stack.start_reader(&[]).await?;
        Ok(stack)
    }

    /// Starts a writer that need not become ready, and returns it.
    pub async fn launch_writer(&mut self, arguments: &[(&str, &str)]) -> anyhow::Result<ServiceProcess> {
        let command = self.command(Role::Writer, arguments)?.env("DATABASE_URL", self.postgres.url());
        let command = with_default(command, arguments, "--listen-address", "127.0.0.1:0");
        self.start(&command).await
    }

    pub async fn start_writer(&mut self, arguments: &[(&str, &str)]) -> anyhow::Result<SocketAddr> {
        let mut writer = self.launch_writer(arguments).await?;
        let address = writer.grpc_address().await?;
        writer.ready().await?;
        self.writers.push(writer);
        Ok(address)
    }

    /// Starts a masker that need not become ready, and returns it. It sends to every writer, unless
    /// `--downstream` is among the arguments.
    pub async fn launch_masker(&mut self, arguments: &[(&str, &str)]) -> anyhow::Result<ServiceProcess> {
        let scheme = self.scheme();
        let writers = uris(scheme, &mut self.writers).await?;
        let command = self.command(Role::Masker, arguments)?;
        let command = with_default(command, arguments, "--listen-address", "127.0.0.1:0");
        let command = with_default(command, arguments, "--downstream", &writers);
        self.start(&command).await
    }

    /// A masker is ready once a writer accepts its table and columns.
    pub async fn start_masker(&mut self, arguments: &[(&str, &str)]) -> anyhow::Result<SocketAddr> {
        let mut masker = self.launch_masker(arguments).await?;
        let address = masker.grpc_address().await?;
        masker.ready().await?;
        self.maskers.push(masker);
        Ok(address)
    }

    /// Reads from the test's queue through its endpoint, and sends to every masker, unless `arguments` say
    /// otherwise.
    pub async fn start_reader(&mut self, arguments: &[(&str, &str)]) -> anyhow::Result<()> {
        let endpoint = self.queue.endpoint();
        self.start_reader_at(&endpoint, arguments).await
    }

    pub async fn start_reader_at(
        &mut self,
        endpoint: &str,
        arguments: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let mut reader = self.launch_reader_at(endpoint, arguments).await?;
        reader.ready().await?;
        self.readers.push(reader);
        Ok(())
    }

    /// Starts a reader that need not become ready, and returns it.
    pub async fn launch_reader_at(
        &mut self,
        endpoint: &str,
        arguments: &[(&str, &str)],
    ) -> anyhow::Result<ServiceProcess> {
        let scheme = self.scheme();
        let maskers = uris(scheme, &mut self.maskers).await?;
        let command = self.command(Role::Reader, arguments)?;
        let command = with_default(command, arguments, "--downstream", &maskers);
        let command = with_default(command, arguments, "--queue", "user-logins");
        let command = with_default(command, arguments, "--dead-letter-queue-url", &self.pair.dead_letter_url);
        let command = with_default(command, arguments, "--wait-time", "1s");
        let command = command
            .env("AWS_ENDPOINT_URL", endpoint)
            .env("AWS_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", CREDENTIALS.0)
            .env("AWS_SECRET_ACCESS_KEY", CREDENTIALS.1);
        self.start(&command).await
    }

    fn command(&self, role: Role, arguments: &[(&str, &str)]) -> anyhow::Result<ServiceCommand> {
        let command = ServiceCommand::new(role.name(), binary(&format!("veilpost-{}", role.name()))?);
        let command = arguments.iter().fold(command, |command, (flag, value)| command.arg(flag, *value));
        let Some(pki) = &self.pki else { return Ok(command) };
        let files = pki.files_of(role)?.flags();
        Ok(files.iter().fold(command, |command, (flag, file)| with_default(command, arguments, flag, file)))
    }

    fn scheme(&self) -> &'static str {
        if self.pki.is_some() { "https" } else { "http" }
    }

    /// Every process logs into its own directory.
    async fn start(&mut self, command: &ServiceCommand) -> anyhow::Result<ServiceProcess> {
        let with_variable =
            |command: ServiceCommand, (name, value): &(String, String)| command.env(name, value);
        let command = self.variables.iter().fold(command.clone(), with_variable);
        self.started += 1;
        let directory = self.directory.path().join(self.started.to_string());
        tokio::fs::create_dir(&directory).await?;
        command.start(&directory)
    }

    /// Writes a file into the test's directory.
    pub fn file(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// Everything that services and Postgres have logged so far, by file.
    pub fn logs(&self) -> anyhow::Result<Vec<(PathBuf, String)>> {
        let mut found = Vec::new();
        collect_logs(self.directory.path(), &mut found)?;
        collect_logs(self.postgres.directory(), &mut found)?;
        Ok(found)
    }

    pub async fn database(&self) -> anyhow::Result<PgConnection> {
        PgConnection::connect(&self.postgres.url()).await.context("the test cannot reach its database")
    }

    /// The single number that `query` returns.
    pub async fn count(&self, query: &'static str) -> anyhow::Result<i64> {
        let mut database = self.database().await?;
        Ok(sqlx::query_scalar(query).fetch_one(&mut database).await?)
    }

    pub async fn rows(&self) -> anyhow::Result<i64> {
        self.count("SELECT count(*) FROM user_logins").await
    }

    /// Waits until the default table has more than `count` rows.
    pub async fn rows_exceed(&self, count: i64) -> anyhow::Result<()> {
        let ask = async || match self.rows().await {
            Ok(rows) if rows > count => Ok(()),
            other => Err(format!("{other:?} rows, not more than {count}")),
        };
        eventually("enough rows", ask).await
    }

    /// Waits until the default table has `count` rows.
    pub async fn rows_are(&self, count: i64) -> anyhow::Result<()> {
        let ask = async || match self.rows().await {
            Ok(rows) if rows == count => Ok(()),
            other => Err(format!("{other:?} rows, not {count}")),
        };
        eventually("all rows", ask).await
    }

    /// Stops every service, readers first; each one must exit with status 0.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        for service in self.readers.iter_mut().chain(&mut self.maskers).chain(&mut self.writers) {
            let status = service.stop(DRAIN).await?;
            anyhow::ensure!(
                status.success(),
                "{} ended with {status}:\n{}",
                service.name(),
                service.log_tail()
            );
        }
        Ok(())
    }
}

fn with_default(command: ServiceCommand, given: &[(&str, &str)], flag: &str, value: &str) -> ServiceCommand {
    if given.iter().any(|(known, _)| *known == flag) { command } else { command.arg(flag, value) }
}

async fn uris(scheme: &str, services: &mut [ServiceProcess]) -> anyhow::Result<String> {
    let mut uris = Vec::new();
    for service in services {
        uris.push(format!("{scheme}://{}", service.grpc_address().await?));
    }
    Ok(uris.join(","))
}

fn collect_logs(directory: &Path, found: &mut Vec<(PathBuf, String)>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() && path.file_name().is_none_or(|name| name != "data") {
            collect_logs(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "log") || path.ends_with("log") {
            found.push((path.clone(), String::from_utf8_lossy(&std::fs::read(&path)?).into_owned()));
        }
    }
    Ok(())
}
