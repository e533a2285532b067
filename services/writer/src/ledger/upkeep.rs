//! Upkeep: empties the idle slot, and reads the clock and the catalogue again.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use veilpost_runtime::Lifecycle;

use super::window::idle_slot;
use crate::catalogue::{Catalogue, ReadError};
use crate::database::{Database, DbError, Session, within};
use crate::metrics;

const INTERVAL: Duration = Duration::from_mins(1);

/// The advisory lock that lets only one writer at a time do upkeep.
const UPKEEP_LOCK: i64 = 0x0f5d_61ab_3c27_9e14;

const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// Runs every minute as long as the service.
#[derive(Debug)]
pub(crate) struct Upkeep {
    database: Arc<Database>,
    catalogue: Arc<Catalogue>,
}

impl Upkeep {
    pub(crate) fn new(database: Arc<Database>, catalogue: Arc<Catalogue>) -> Self {
        Self { database, catalogue }
    }

    /// Runs until draining. A failure is logged and the next run tries again; committers need nothing from
    /// here.
    pub(crate) async fn run(self, life: Lifecycle) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                () = life.draining() => return Ok(()),
                () = self.once() => {}
            }
            tokio::select! {
                () = life.draining() => return Ok(()),
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }

    async fn once(&self) {
        match self.try_once().await {
            Ok(None) => {}
            Ok(Some(slot)) => {
                metrics::slot_truncated();
                tracing::info!(
                    slot,
                    "emptied a slot of the ledger whose messages can no longer be delivered again"
                );
            }
            Err(error) => tracing::warn!(error = error.to_string(), "upkeep failed"),
        }
    }

    async fn try_once(&self) -> Result<Option<i16>, ReadError> {
        let mut session = self.database.connect().await?;
        let refreshed = self.catalogue.refresh(&mut session).await;
        let truncated = truncate_idle_slot(&mut session).await?;
        session.close().await;
        refreshed.map(|_| truncated)
    }
}

/// Empties the slot that is idle by the database's clock; returns it if it held anything. Does nothing while
/// another writer does the same, or close to midnight.
async fn truncate_idle_slot(session: &mut Session) -> Result<Option<i16>, DbError> {
    let deadline = session.deadline();
    within(deadline, truncate(session.connection())).await
}

async fn truncate(connection: &mut PgConnection) -> Result<Option<i16>, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let truncated = truncate_within(&mut transaction).await?;
    transaction.commit().await?;
    Ok(truncated)
}

/// The time is read again under the lock: another slot may have become idle while waiting for it.
async fn truncate_within(transaction: &mut PgConnection) -> Result<Option<i16>, sqlx::Error> {
    let is_ours: bool = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)")
        .bind(UPKEEP_LOCK)
        .fetch_one(&mut *transaction)
        .await?;
    let Some(slot) = idle_now(transaction).await?.filter(|_| is_ours) else { return Ok(None) };
    if is_empty(transaction, slot).await? {
        return Ok(None);
    }
    let leaf = format!("veilpost.ledger_{slot}");
    let lock = format!("SET LOCAL lock_timeout = '1s'; LOCK TABLE {leaf} IN ACCESS EXCLUSIVE MODE");
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *transaction).await?;
    if idle_now(transaction).await? != Some(slot) {
        return Ok(None);
    }
    sqlx::raw_sql(AssertSqlSafe(format!("TRUNCATE {leaf}"))).execute(transaction).await?;
    Ok(Some(slot))
}

async fn idle_now(connection: &mut PgConnection) -> Result<Option<i16>, sqlx::Error> {
    sqlx::query_scalar(NOW).fetch_one(connection).await.map(idle_slot)
}

async fn is_empty(connection: &mut PgConnection, slot: i16) -> Result<bool, sqlx::Error> {
    let sql = format!("SELECT NOT EXISTS (SELECT FROM veilpost.ledger_{slot})");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await
}
