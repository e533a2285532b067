//! The writer from start to end: what it waits for, the tasks that it runs, how it stops.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use veilpost_proto::v1::writer_server::WriterServer;
use veilpost_runtime::{Lifecycle, bind, serve_grpc};

use crate::catalogue::{Catalogue, TableName, missing_privileges};
use crate::commit::{BatchQueue, CommitCount, Committer};
use crate::database::{Database, within};
use crate::grpc::WriterService;
use crate::ledger::{SentTimes, Upkeep};
use crate::metrics;
use crate::migrate::{migrate, migrate_when_possible};
use crate::settings::{Arguments, Settings, WriterCommand};
use crate::start_retry::{StartError, StartRetry, refuse_mixed_sessions};

/// Whether the ledger is there, with the marks of rejected messages. Needs no privilege on its schema.
const LEDGER: &str = "
    SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
                   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                   WHERE n.nspname = 'veilpost' AND c.relname = 'ledger' AND a.attname = 'rejected')";

/// The process of the writer: reads its command line, whose first argument is the name of the program, and
/// runs until the service is drained. Ends the process with exit status 2 when the command line is wrong.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Arguments { command, settings } = Arguments::parse_from(arguments);
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

/// The writer, not yet started.
#[derive(Debug)]
pub struct Writer {
    settings: Settings,
    database: Arc<Database>,
    catalogue: Arc<Catalogue>,
}

impl Writer {
    /// Checks the settings; connects to nothing.
    ///
    /// # Errors
    ///
    /// When a setting is missing or wrong.
    pub fn new(settings: Settings) -> anyhow::Result<Self> {
        settings.tls.enabled()?;
        let database = Arc::new(settings.database.clone().open()?);
        let catalogue = Arc::new(Catalogue::new(TableName::parse(&settings.table)));
        Ok(Self { settings, database, catalogue })
    }

    /// Waits for Postgres, then serves until drained. The service stays ready when Postgres fails later:
    /// batches are held until it is back, and their streams stay open.
    ///
    /// # Errors
    ///
    /// When the start cannot succeed by waiting, and when a port or a TLS file cannot be used.
    pub async fn run(self, life: Lifecycle) -> anyhow::Result<()> {
        metrics::describe();
        let identity = self.settings.tls.open(&life)?;
        let admission =
            identity.map(|identity| identity.admitting(&self.settings.tls_callers)).transpose()?;
        tokio::select! {
            prepared = self.prepare() => prepared?,
            () = life.draining() => return Ok(()),
        }
        let listener = bind(self.settings.listen_address).await?;
        let queue = Arc::new(BatchQueue::new(self.settings.queue_bytes));
        self.spawn_committers(&queue, &life);
        let sent_times = Arc::<SentTimes>::default();
        let upkeep =
            Upkeep::new(Arc::clone(&self.database), Arc::clone(&self.catalogue), Arc::clone(&sent_times));
        life.spawn("upkeep", upkeep.run(life.clone()));
        life.set_ready(true);
        let service =
            WriterService::new(self.database, self.catalogue, Arc::clone(&queue), sent_times, life.clone());
        let served = serve_grpc(WriterServer::new(service), listener, admission, &life).await;
        queue.close();
        served
    }

    fn spawn_committers(&self, queue: &Arc<BatchQueue>, life: &Lifecycle) {
        let commits = Arc::<CommitCount>::default();
        // What is held back leaves half of the memory to batches that can be stored.
        let held_bytes = self.settings.queue_bytes / 2 / usize::from(self.settings.connections);
        for _ in 0..self.settings.connections {
            let committer = Committer::new(
                Arc::clone(&self.database),
                Arc::clone(&self.catalogue),
                Arc::clone(queue),
                self.settings.commit_limits(),
                held_bytes,
                Arc::clone(&commits),
            );
            life.spawn("committer", committer.run(life.clone()));
        }
    }

    /// Waits until ledger and table exist and the table is fit.
    async fn prepare(&self) -> anyhow::Result<()> {
        if self.settings.migrate {
            migrate_when_possible(&self.database, &self.settings.table).await?;
        }
        let mut retry = StartRetry::new("cannot start yet; trying again");
        while let Err(error) = self.read_definitions().await {
            retry.wait_after(error).await?;
        }
        metrics::database_up(true);
        Ok(())
    }

    async fn read_definitions(&self) -> Result<(), StartError> {
        refuse_mixed_sessions(&self.database).await?;
        let mut session = self.database.connect_apart().await?;
        let deadline = session.deadline();
        let ledger = sqlx::query_scalar(LEDGER).fetch_one(session.connection());
        let exists: bool = within(deadline, ledger).await?;
        if !exists {
            return Err(StartError::NotYet(
                "the ledger is missing, or older than this writer: run `veilpost-writer migrate`".to_owned(),
            ));
        }
        let table = self.catalogue.refresh(&mut session).await?;
        if let Some(missing) = missing_privileges(&mut session, &table).await? {
            return Err(StartError::NotYet(missing));
        }
        session.close().await;
        Ok(())
    }
}
