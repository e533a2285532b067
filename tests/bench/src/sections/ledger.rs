//! The writer's statement with and without the ledger, in a ledger that is full of keys.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::try_join_all;
use secrecy::SecretString;
use veilpost_local::numbers::float;
use veilpost_local::output::say;
use veilpost_writer::{Bare, BareBatch};

use crate::bodies::{masked_batches, target};
use crate::run::Sheet;
use crate::world::World;

/// As many as the writer has.
pub(crate) const CONNECTIONS: usize = 2;

/// Keys of today, sent over the last hour and up to now, as the writer makes them: milliseconds, then a digest.
const FILL: &str = "
    INSERT INTO veilpost.ledger (slot, key)
    SELECT (extract(epoch FROM now())::bigint / 86400 % 18)::smallint,
           (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint - 3600000 + n * 3600000 / $1), 12, '0')
            || substr(md5(n::text), 1, 20))::uuid
    FROM generate_series(1, $1) AS n";

pub(crate) async fn measure(world: &mut World, sheet: &mut Sheet) -> anyhow::Result<()> {
    let keys = world.settings.ledger_keys;
    if keys > 0 {
        say(&format!("  filling the ledger with {} keys", veilpost_local::output::grouped(keys)));
        sqlx::query(FILL).bind(i64::try_from(keys)?).execute(&mut world.database).await?;
    }
    sheet.figures.add(
        "ledger.keys",
        "keys",
        float(world.count("SELECT count(*) FROM veilpost.ledger").await?),
    );
    for _ in 0..world.settings.repetitions {
        let with = bare_loop(world, sheet, true).await?;
        let without = bare_loop(world, sheet, false).await?;
        sheet.figures.add("ledger.with", "rows/s", with.rate);
        sheet.figures.add("ledger.without", "rows/s", without.rate);
        sheet.figures.add("ledger.wal-with", "bytes", with.wal_bytes);
        sheet.figures.add("ledger.wal-without", "bytes", without.wal_bytes);
        sheet.figures.add("ledger.ratio", "ratio", with.rate / without.rate);
    }
    Ok(())
}

/// What a bare loop has reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reached {
    pub(crate) rate: f64,
    /// Bytes of write-ahead log a row.
    pub(crate) wal_bytes: f64,
}

/// Stores rows over [`CONNECTIONS`] by the writer's own statement; what comes before a commit is done beforehand.
pub(crate) async fn bare_loop(world: &mut World, sheet: &mut Sheet, ledger: bool) -> anyhow::Result<Reached> {
    let rows = world.settings.rows;
    let url = SecretString::from(world.postgres.url());
    let mut sessions = Vec::new();
    for _ in 0..CONNECTIONS {
        sessions.push(Bare::connect(&url, &target()).await?);
    }
    let batches = masked_batches(rows, world.settings.batch).into_iter();
    let batches: Vec<Arc<BareBatch>> = batches
        .zip(sessions.iter().cycle())
        .map(|(batch, session)| session.prepare(batch).map(Arc::new))
        .collect::<Result<_, _>>()?;
    let before_rows = world.rows().await?;
    world.checkpoint().await?;
    let before = world.wal_bytes().await?;
    let started = Instant::now();
    let next = std::sync::Mutex::new(batches.into_iter());
    let take = || next.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
    try_join_all(sessions.iter_mut().map(|session| store(session, take, ledger))).await?;
    let seconds = started.elapsed().as_secs_f64();
    let wal_bytes = (world.wal_bytes().await? - before) / float(rows);
    sheet.checks.equal("rows of the bare statement", world.rows().await? - before_rows, rows);
    Ok(Reached { rate: float(rows) / seconds, wal_bytes })
}

async fn store(
    session: &mut Bare,
    mut take: impl FnMut() -> Option<Arc<BareBatch>>,
    ledger: bool,
) -> anyhow::Result<()> {
    while let Some(batch) = take() {
        if ledger {
            session.store(&batch).await?;
        } else {
            session.store_without_ledger(&batch).await?;
        }
    }
    Ok(())
}
