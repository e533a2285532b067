//! The writer's statement in a loop, without the service around it: the benchmark compares the service with
//! it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use secrecy::SecretString;
use veilpost_proto::v1;

use crate::catalogue::{Catalogue, TableName};
use crate::commit::{insert, insert_without_ledger};
use crate::database::{Database, Session};
use crate::record::{PreparedBatch, Record, prepare};
use crate::target::{InsertMode, ResolvedTarget};

const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// One connection with the writer's own settings. It stores batches one after the other: no stream, no queue,
/// no merging, no recovery.
#[derive(Debug)]
pub struct StatementLoop {
    session: Session,
    target: ResolvedTarget,
}

/// Records that are converted and sorted, ready to be bound.
#[allow(missing_debug_implementations, reason = "holds values")]
pub struct PreparedRecords(Vec<Record>);

impl StatementLoop {
    /// # Errors
    ///
    /// When Postgres cannot be reached, or lacks the schema, the table or a column.
    pub async fn connect(url: &SecretString, target: &v1::Target) -> anyhow::Result<Self> {
        let mut session = Database::new(url, STATEMENT_TIMEOUT)?.connect().await?;
        let table = Catalogue::new(TableName::parse(&target.table)).refresh(&mut session).await;
        let table: Arc<_> = table.with_context(|| format!("cannot read table {}", target.table))?;
        let target = ResolvedTarget::resolve(&table, target)?;
        Ok(Self { session, target })
    }

    /// Does what the service does before a commit.
    ///
    /// # Errors
    ///
    /// When a record cannot be stored.
    pub fn prepare(&self, batch: v1::MaskedBatch) -> anyhow::Result<PreparedRecords> {
        let count = batch.records.len();
        let PreparedBatch { mut records, .. } = prepare(batch, &self.target)?;
        anyhow::ensure!(records.len() == count, "a record was rejected");
        records.sort_by_key(|record| record.key);
        Ok(PreparedRecords(records))
    }

    /// Stores rows and keys in one commit.
    ///
    /// # Errors
    ///
    /// When the statement fails, as it does when the ledger already has one of the keys.
    pub async fn store(&mut self, records: &PreparedRecords) -> anyhow::Result<()> {
        let records: Vec<&Record> = records.0.iter().collect();
        let stored =
            insert(&mut self.session, &self.target.statements, &records, &records, InsertMode::Plain);
        stored.await.map(|_| ()).context("the statement failed")
    }

    /// Stores the rows alone in one commit, as if nothing ever came twice.
    ///
    /// # Errors
    ///
    /// When the statement fails.
    pub async fn store_without_ledger(&mut self, records: &PreparedRecords) -> anyhow::Result<()> {
        let records: Vec<&Record> = records.0.iter().collect();
        let stored = insert_without_ledger(&mut self.session, &self.target, &records);
        stored.await.context("the statement without the ledger failed")
    }
}
