//! What the demo asks Postgres.

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use futures_util::TryStreamExt;
use sqlx::postgres::PgConnectOptions;
use sqlx::types::Uuid;
use sqlx::{Connection, PgConnection, Row};
use tokio::time::timeout;

use super::account::LedgerId;

/// Sent times and this clock may differ.
const CLOCK_MARGIN: Duration = Duration::from_mins(5);

/// A host that does not answer at all is noticed by this time.
const CONNECT_PATIENCE: Duration = Duration::from_secs(15);

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Slots of the writer's ledger; a message's is the day on which it was sent, modulo this.
const SLOTS: u64 = 18;

#[derive(Debug)]
pub(super) struct Store {
    connection: PgConnection,
}

/// A row of the default table as text.
pub(super) type TextRow = [Option<String>; 7];

pub(super) const COLUMNS: [&str; 7] =
    ["user_id", "device_type", "masked_ip", "masked_device_id", "locale", "app_version", "create_date"];

impl Store {
    /// `options` are those of [`veilpost_writer::connect_options`].
    pub(super) async fn open(options: &PgConnectOptions) -> anyhow::Result<Self> {
        let connection = timeout(CONNECT_PATIENCE, PgConnection::connect_with(options)).await;
        let connection = connection.with_context(|| {
            format!(
                "Postgres does not answer within {} s: check host and port of the URL",
                CONNECT_PATIENCE.as_secs()
            )
        })?;
        Ok(Self { connection: connection.context("cannot connect to Postgres")? })
    }

    pub(super) async fn version(&mut self) -> anyhow::Result<String> {
        Ok(sqlx::query_scalar("show server_version").fetch_one(&mut self.connection).await?)
    }

    pub(super) async fn rows(&mut self) -> anyhow::Result<u64> {
        let rows: i64 =
            sqlx::query_scalar("select count(*) from user_logins").fetch_one(&mut self.connection).await?;
        Ok(u64::try_from(rows)?)
    }

    /// The stored messages in the ledger that were sent since `start`, of all pipelines.
    pub(super) async fn ledger_since(&mut self, start: SystemTime) -> anyhow::Result<HashSet<LedgerId>> {
        let since = millis(start - CLOCK_MARGIN);
        let until = millis(SystemTime::now() + CLOCK_MARGIN);
        let slots: Vec<i16> = (since / DAY_MS..=until / DAY_MS)
            .map(|day| i16::try_from(day % SLOTS))
            .collect::<Result<_, _>>()?;
        let first = Uuid::from_u128(u128::from(since) << 80);
        let query = "select key from veilpost.ledger where slot = any($1) and key >= $2 and rejected is null";
        let keys = sqlx::query_scalar(query).bind(slots).bind(first).fetch(&mut self.connection);
        Ok(keys.map_ok(|key: Uuid| ledger_id_of(key)).try_collect().await?)
    }

    /// The table's first rows.
    pub(super) async fn first_rows(&mut self, count: i64) -> anyhow::Result<Vec<TextRow>> {
        let query = "select user_id, device_type, masked_ip, masked_device_id, locale, app_version::text, \
                     create_date::text from user_logins limit $1";
        let rows = sqlx::query(query).bind(count).fetch_all(&mut self.connection).await?;
        Ok(rows
            .iter()
            .map(|row| std::array::from_fn(|column| row.try_get(column).unwrap_or_default()))
            .collect())
    }

    /// When the youngest row was committed; none when the server does not keep track of that.
    pub(super) async fn last_commit(&mut self) -> anyhow::Result<Option<SystemTime>> {
        let tracking: String =
            sqlx::query_scalar("show track_commit_timestamp").fetch_one(&mut self.connection).await?;
        if tracking != "on" {
            return Ok(None);
        }
        let query = "select extract(epoch from max(pg_xact_commit_timestamp(xmin)))::float8 from user_logins";
        let seconds: Option<f64> = sqlx::query_scalar(query).fetch_one(&mut self.connection).await?;
        Ok(seconds.map(|seconds| UNIX_EPOCH + Duration::from_secs_f64(seconds.max(0.0))))
    }
}

fn ledger_id_of(key: Uuid) -> LedgerId {
    let mut id = LedgerId::default();
    id.iter_mut().zip(key.as_bytes().iter().skip(6)).for_each(|(byte, from)| *byte = *from);
    id
}

fn millis(time: SystemTime) -> u64 {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
