//! The writer's statement with nothing around it: the floor that benchmarks compare the service with.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use secrecy::SecretString;
use veilpost_proto::v1;

use crate::catalogue::{Catalogue, TableName, Target};
use crate::database::{Database, Session};
use crate::record::{Record, prepare};
use crate::statement::{self, Form};

const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// One connection with the writer's own settings. It stores batches one after the other: no stream, no queue, no
/// merging, no recovery.
#[derive(Debug)]
pub struct Bare {
    session: Session,
    target: Target,
}

/// Records that are converted and sorted, ready to be bound.
#[allow(missing_debug_implementations, reason = "holds values")]
pub struct BareBatch {
    records: Vec<Record>,
}

impl Bare {
    /// Schema and table must be there.
    pub async fn connect(url: &SecretString, target: &v1::Target) -> anyhow::Result<Self> {
        let mut session = Database::new(url, STATEMENT_TIMEOUT)?.connect().await?;
        let table = Catalogue::new(TableName::parse(&target.table)).refresh(&mut session).await;
        let table: Arc<_> = table.map_err(|_| anyhow::anyhow!("table {} is not there", target.table))?;
        let target = Target::resolve(&table, target)?;
        Ok(Self { session, target })
    }

    /// What the service does before a commit. Every record must be storable.
    pub fn prepare(&self, batch: v1::MaskedBatch) -> anyhow::Result<BareBatch> {
        let records = batch.records.len();
        let (mut prepared, _) = prepare(batch, &self.target).map_err(|unfit| anyhow::anyhow!("{unfit}"))?;
        anyhow::ensure!(prepared.len() == records, "a record was rejected");
        prepared.sort_by_key(|record| record.key);
        Ok(BareBatch { records: prepared })
    }

    /// One commit of rows and keys; fails when a key is in the ledger already.
    pub async fn store(&mut self, batch: &BareBatch) -> anyhow::Result<()> {
        let records: Vec<&Record> = batch.records.iter().collect();
        let stored = statement::insert(&mut self.session, &self.target.statements, &records, Form::Plain);
        stored.await.map(|_| ()).context("the bare statement failed")
    }

    /// One commit of the rows alone, as if nothing ever came twice.
    pub async fn store_without_ledger(&mut self, batch: &BareBatch) -> anyhow::Result<()> {
        let records: Vec<&Record> = batch.records.iter().collect();
        let stored = statement::insert_without_ledger(&mut self.session, &self.target, &records);
        stored.await.context("the bare statement without the ledger failed")
    }
}
