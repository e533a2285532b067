//! What everything is measured in: executables, a throw-away Postgres, a queue process.

use std::path::Path;

use anyhow::Context;
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use veilpost_local::output::say;
use veilpost_local::postgres::{ThrowAwayPostgres, find_or_install};
use veilpost_testkit::Executables;

use crate::queue::QueueProcess;
use crate::replicas::{Plan, Replicas};
use crate::settings::Settings;

/// The services are built with the allocator of this program.
const FEATURES: &[&str] = if cfg!(feature = "jemalloc") { &["jemalloc"] } else { &[] };

/// Dropping it ends everything that it has started.
#[derive(Debug)]
pub(crate) struct Testbed {
    pub(crate) settings: Settings,
    pub(crate) executables: Executables,
    pub(crate) queue: QueueProcess,
    pub(crate) postgres: ThrowAwayPostgres,
    pub(crate) database: PgConnection,
    directory: TempDir,
    started: u32,
}

impl Testbed {
    /// Queue and Postgres are up, and the schema is there.
    pub(crate) async fn start(settings: Settings) -> anyhow::Result<Self> {
        let executables = match &settings.binaries {
            Some(directory) => Executables::in_directory(directory)?,
            None => Executables::build(FEATURES)?,
        };
        let directory = tempfile::Builder::new().prefix("veilpost-bench-").tempdir()?;
        let queue = QueueProcess::start(&executables, directory.path(), "queue").await?;
        let postgres = ThrowAwayPostgres::start(find_or_install(say).await?).await?;
        let database = PgConnection::connect(&postgres.url()).await.context("cannot reach Postgres")?;
        let mut testbed = Self { settings, executables, queue, postgres, database, directory, started: 0 };
        let mut replicas =
            testbed.start_replicas(&Plan { maskers: 0, readers: 0, ..Plan::default() }).await?;
        replicas.stop().await?;
        Ok(testbed)
    }

    /// A directory that nothing else uses.
    pub(crate) fn new_directory(&mut self) -> anyhow::Result<std::path::PathBuf> {
        self.started += 1;
        let directory = self.directory.path().join(self.started.to_string());
        std::fs::create_dir(&directory)?;
        Ok(directory)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A new queue.
    pub(crate) async fn new_queue(&mut self) -> anyhow::Result<String> {
        self.started += 1;
        self.queue.create(&format!("bench-{}", self.started)).await
    }

    /// Starts services and waits until each one is ready.
    pub(crate) async fn start_replicas(&mut self, plan: &Plan) -> anyhow::Result<Replicas> {
        let directory = self.new_directory()?;
        Replicas::start(&self.executables, &self.queue, &self.postgres.url(), &directory, plan).await
    }

    pub(crate) async fn count(&mut self, query: &'static str) -> anyhow::Result<u64> {
        let count: i64 = sqlx::query_scalar(query).fetch_one(&mut self.database).await?;
        Ok(u64::try_from(count)?)
    }

    pub(crate) async fn rows(&mut self) -> anyhow::Result<u64> {
        self.count("SELECT count(*) FROM user_logins").await
    }

    pub(crate) async fn empty_table(&mut self) -> anyhow::Result<()> {
        sqlx::query("TRUNCATE user_logins").execute(&mut self.database).await?;
        Ok(())
    }

    /// Lets Postgres clean up now, so that no part of the benchmark pays for rows that another part has
    /// stored.
    pub(crate) async fn settle(&mut self) -> anyhow::Result<()> {
        sqlx::query("VACUUM (ANALYZE)").execute(&mut self.database).await?;
        self.checkpoint().await
    }

    /// Without it, the repetition that runs into a checkpoint pays for those before it.
    pub(crate) async fn checkpoint(&mut self) -> anyhow::Result<()> {
        sqlx::query("CHECKPOINT").execute(&mut self.database).await?;
        Ok(())
    }

    /// Bytes of write-ahead log since the server was made.
    pub(crate) async fn wal_bytes(&mut self) -> anyhow::Result<f64> {
        let query = "SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::float8";
        Ok(sqlx::query_scalar(query).fetch_one(&mut self.database).await?)
    }

    pub(crate) async fn postgres_version(&mut self) -> anyhow::Result<String> {
        Ok(sqlx::query_scalar("SHOW server_version").fetch_one(&mut self.database).await?)
    }
}
