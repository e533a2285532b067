//! The service as a whole: its start, its tasks, its end.

use std::sync::Arc;

use veilpost_proto::v1::writer_server::WriterServer;
use veilpost_runtime::{Lifecycle, bind, serve_grpc};

use crate::catalogue::{Catalogue, TableName};
use crate::commit::Committer;
use crate::database::within;
use crate::grpc::WriterService;
use crate::ledger::Upkeep;
use crate::metrics;
use crate::migrate::migrate_when_possible;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::start_retry::{Patience, StartError};

/// The writer, not yet started.
#[derive(Debug)]
pub struct Writer {
    settings: Settings,
    shared: Arc<Shared>,
}

impl Writer {
    /// Fails only on bad settings.
    pub fn new(settings: Settings) -> anyhow::Result<Self> {
        settings.tls.enabled()?;
        let database = settings.database.clone().open()?;
        let catalogue = Catalogue::new(TableName::parse(&settings.table));
        let shared = Shared::new(database, catalogue, settings.limits(), settings.queue_bytes);
        Ok(Self { settings, shared: Arc::new(shared) })
    }

    /// Serves until drained. Postgres is waited for at the start, and not needed to stay ready afterwards: a database that
    /// is away holds the streams up and does not end them.
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
        for _ in 0..self.settings.connections {
            let committer = Committer::new(Arc::clone(&self.shared));
            life.spawn("committer", committer.run(life.clone()));
        }
        life.spawn("upkeep", Upkeep::new(Arc::clone(&self.shared)).run(life.clone()));
        life.set_ready(true);
        let service = WriterService::new(Arc::clone(&self.shared), life.clone());
        let served = serve_grpc(WriterServer::new(service), listener, admission, &life).await;
        self.shared.queue.close();
        served
    }

    async fn prepare(&self) -> anyhow::Result<()> {
        if self.settings.migrate {
            migrate_when_possible(&self.shared.database).await?;
        }
        let mut patience = Patience::new("cannot start yet; trying again");
        while let Err(error) = self.read_definitions().await {
            patience.wait_after(error).await?;
        }
        metrics::database_up(true);
        Ok(())
    }

    async fn read_definitions(&self) -> Result<(), StartError> {
        let mut session = self.shared.database.connect().await?;
        let ledger = sqlx::query_scalar("SELECT to_regclass('veilpost.ledger') IS NOT NULL");
        let is_there: bool = within(session.deadline(), ledger.fetch_one(session.connection())).await?;
        if !is_there {
            return Err(StartError::NotYet(
                "the ledger is missing: run `veilpost-writer migrate`".to_owned(),
            ));
        }
        self.shared.catalogue.refresh(&mut session).await?;
        Ok(())
    }
}
