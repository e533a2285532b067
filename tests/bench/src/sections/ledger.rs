//! The writer's statement with and without the ledger, in a ledger that is full of keys.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::try_join_all;
use secrecy::SecretString;
use veilpost_local::numbers::float;
use veilpost_local::output::say;
use veilpost_writer::{PreparedRecords, StatementLoop};

use crate::bodies::{masked_batches, target};
use crate::figures::Results;
use crate::testbed::Testbed;

/// As many as the writer has.
pub(crate) const CONNECTIONS: usize = 2;

/// Keys of today, sent over the last hour and up to now, as the writer makes them: milliseconds, then a
/// digest.
const FILL: &str = "
    INSERT INTO veilpost.ledger (slot, key)
    SELECT (extract(epoch FROM now())::bigint / 86400 % 18)::smallint,
           (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint - 3600000 + n * 3600000 / $1), 12, '0')
            || substr(md5(n::text), 1, 20))::uuid
    FROM generate_series(1, $1) AS n";

pub(crate) async fn measure(testbed: &mut Testbed, results: &mut Results) -> anyhow::Result<()> {
    let keys = testbed.settings.ledger_keys;
    if keys > 0 {
        say(&format!("  filling the ledger with {} keys", veilpost_local::output::grouped(keys)));
        sqlx::query(FILL).bind(i64::try_from(keys)?).execute(&mut testbed.database).await?;
    }
    results.figures.add(
        "ledger.keys",
        "keys",
        float(testbed.count("SELECT count(*) FROM veilpost.ledger").await?),
    );
    for _ in 0..testbed.settings.repetitions {
        let with = bare_loop(testbed, results, true).await?;
        let without = bare_loop(testbed, results, false).await?;
        results.figures.add("ledger.with", "rows/s", with.rate);
        results.figures.add("ledger.without", "rows/s", without.rate);
        results.figures.add("ledger.wal-with", "bytes", with.wal_bytes);
        results.figures.add("ledger.wal-without", "bytes", without.wal_bytes);
        results.figures.add("ledger.ratio", "ratio", with.rate / without.rate);
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

/// Stores rows over [`CONNECTIONS`] by the writer's own statement; what comes before a commit is done
/// beforehand.
pub(crate) async fn bare_loop(
    testbed: &mut Testbed,
    results: &mut Results,
    ledger: bool,
) -> anyhow::Result<Reached> {
    let rows = testbed.settings.rows;
    let url = SecretString::from(testbed.postgres.url());
    let mut sessions = Vec::new();
    for _ in 0..CONNECTIONS {
        sessions.push(StatementLoop::connect(&url, &target()).await?);
    }
    let batches = masked_batches(rows, testbed.settings.batch).into_iter();
    let batches: Vec<Arc<PreparedRecords>> = batches
        .zip(sessions.iter().cycle())
        .map(|(batch, session)| session.prepare(batch).map(Arc::new))
        .collect::<Result<_, _>>()?;
    let before_rows = testbed.rows().await?;
    testbed.checkpoint().await?;
    let before = testbed.wal_bytes().await?;
    let started = Instant::now();
    let next = parking_lot::Mutex::new(batches.into_iter());
    let take = || next.lock().next();
    try_join_all(sessions.iter_mut().map(|session| store(session, take, ledger))).await?;
    let seconds = started.elapsed().as_secs_f64();
    let wal_bytes = (testbed.wal_bytes().await? - before) / float(rows);
    results.checks.equal("rows of the bare statement", testbed.rows().await? - before_rows, rows);
    Ok(Reached { rate: float(rows) / seconds, wal_bytes })
}

async fn store(
    session: &mut StatementLoop,
    mut take: impl FnMut() -> Option<Arc<PreparedRecords>>,
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
