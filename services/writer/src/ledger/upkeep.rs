//! Upkeep: empties the idle slot, and reads the clocks and the catalogue again.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;
use veilpost_runtime::Lifecycle;
use veilpost_runtime::telemetry::OutageLog;

use super::Key;
use super::clocks::{Agreement, ClockReadings, SentTimes};
use super::window::idle_slot;
use crate::catalogue::{Catalogue, ReadError, missing_privileges};
use crate::database::{Database, DbError, NOW_MS, Session, host_now_ms, within};
use crate::metrics;

const INTERVAL: Duration = Duration::from_mins(1);

/// The advisory lock that lets only one writer at a time do upkeep.
const UPKEEP_LOCK: i64 = 0x0f5d_61ab_3c27_9e14;

/// Runs every minute as long as the service, and when the first records have come.
#[derive(Debug)]
pub(crate) struct Upkeep {
    database: Arc<Database>,
    catalogue: Arc<Catalogue>,
    sent_times: Arc<SentTimes>,
    clocks: OutageLog,
    privileges: OutageLog,
}

impl Upkeep {
    pub(crate) fn new(
        database: Arc<Database>,
        catalogue: Arc<Catalogue>,
        sent_times: Arc<SentTimes>,
    ) -> Self {
        Self { database, catalogue, sent_times, clocks: OutageLog::new(), privileges: OutageLog::new() }
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
                () = self.sent_times.first() => {}
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
        let mut session = self.database.connect_apart().await?;
        let refreshed = self.catalogue.refresh(&mut session).await;
        if let Ok(table) = &refreshed {
            self.note_privileges(missing_privileges(&mut session, table).await?);
        }
        let emptied = self.empty_idle_slot(&mut session).await?;
        session.close().await;
        refreshed.map(|_| emptied)
    }

    /// Says once which privileges are missing, and once that all are there again.
    fn note_privileges(&self, missing: Option<String>) {
        match missing {
            None => {
                if self.privileges.note_success() {
                    tracing::info!("the role has all privileges again");
                }
            }
            Some(missing) => {
                if self.privileges.note_failure(&missing) {
                    tracing::error!("{missing}");
                }
            }
        }
    }

    /// Empties the idle slot, if all clocks agree on the time; returns it if it held anything. Does nothing
    /// while another writer does the same, or close to midnight.
    async fn empty_idle_slot(&self, session: &mut Session) -> Result<Option<i16>, DbError> {
        let database_ms = session.read_clock(&self.database.clock).await?;
        let newest_sent_ms = self.sent_times.newest();
        let readings = ClockReadings { database_ms, host_ms: host_now_ms(), newest_sent_ms };
        if !self.note_agreement(readings) {
            return Ok(None);
        }
        let deadline = session.deadline();
        session.begin_apart().await?;
        let emptied = within(deadline, empty(session.connection(), newest_sent_ms)).await;
        session.end_apart(emptied).await
    }

    /// Says once that clocks disagree, and once that they agree again. Returns whether they agree.
    fn note_agreement(&self, readings: ClockReadings) -> bool {
        let agreement = readings.agreement();
        let problem = match agreement {
            Agreement::Agree | Agreement::Unconfirmed => {
                metrics::clocks_disagree(false);
                if agreement == Agreement::Agree && self.clocks.note_success() {
                    tracing::info!("the clocks agree again");
                }
                return agreement == Agreement::Agree;
            }
            Agreement::HostDiffers => "the database's clock and this host's are more than an hour apart",
            Agreement::QueueDiffers => {
                "messages were sent more than an hour later than the clocks of database and host show"
            }
        };
        metrics::clocks_disagree(true);
        if self.clocks.note_failure(problem) {
            let ClockReadings { database_ms, host_ms, newest_sent_ms } = readings;
            tracing::error!(
                database_ms,
                host_ms,
                newest_sent_ms,
                "{problem}; no slot of the ledger is emptied: set the clocks right"
            );
        }
        false
    }
}

/// The time is read again under the lock: another slot may have become idle while waiting for it.
async fn empty(
    transaction: &mut PgConnection,
    newest_sent_ms: Option<i64>,
) -> Result<Option<i16>, sqlx::Error> {
    let is_ours: bool = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)")
        .bind(UPKEEP_LOCK)
        .fetch_one(&mut *transaction)
        .await?;
    let Some(slot) = past_slot(transaction, newest_sent_ms).await?.filter(|_| is_ours) else {
        return Ok(None);
    };
    let leaf = format!("veilpost.ledger_{slot}");
    let lock = format!("SET LOCAL lock_timeout = '1s'; LOCK TABLE {leaf} IN ACCESS EXCLUSIVE MODE");
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *transaction).await?;
    if past_slot(transaction, newest_sent_ms).await? != Some(slot) {
        return Ok(None);
    }
    sqlx::raw_sql(AssertSqlSafe(format!("TRUNCATE {leaf}"))).execute(transaction).await?;
    Ok(Some(slot))
}

/// The slot that is idle now, if it holds keys and all of them are past.
async fn past_slot(
    connection: &mut PgConnection,
    newest_sent_ms: Option<i64>,
) -> Result<Option<i16>, sqlx::Error> {
    let database_ms = sqlx::query_scalar(NOW_MS).fetch_one(&mut *connection).await?;
    let Some(slot) = idle_slot(database_ms) else { return Ok(None) };
    let newest = format!("SELECT key FROM veilpost.ledger_{slot} ORDER BY key DESC LIMIT 1");
    let newest: Option<Uuid> = sqlx::query_scalar(AssertSqlSafe(newest)).fetch_optional(connection).await?;
    let readings = ClockReadings { database_ms, host_ms: host_now_ms(), newest_sent_ms };
    Ok(newest.filter(|key| readings.may_empty(Key::from(*key).sent_ms())).map(|_| slot))
}
