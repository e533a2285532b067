//! A Postgres that is down, full, locked, slow or shut to writing.

use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use sqlx::Connection;
use tokio::time::sleep;

use super::{POLL_INTERVAL, TARGET_PATIENCE};
use crate::database::FaultDatabase;
use crate::fault::{Fault, PostgresFault};
use crate::pipeline::ProxiedPipeline;
use crate::schedule::Step;
use crate::tally::Tally;

pub(super) async fn run(steps: &[Step], pipeline: &ProxiedPipeline, tally: &Tally) -> anyhow::Result<()> {
    for step in steps {
        sleep(step.pause).await;
        let Fault::Postgres(fault) = step.fault else { continue };
        let begun = Instant::now();
        let hits = inject(fault, step.length, pipeline).await?;
        tally.note(step.fault, begun, hits);
    }
    Ok(())
}

/// What was broken, by Postgres's own account; none when this machine cannot have the fault.
async fn inject(
    fault: PostgresFault,
    length: Duration,
    pipeline: &ProxiedPipeline,
) -> anyhow::Result<Option<u64>> {
    let database = &pipeline.database;
    let seen = match fault {
        PostgresFault::ImmediateShutdown | PostgresFault::Restart => down(fault, length, pipeline).await?,
        PostgresFault::BackendsTerminated => terminated(length, database).await?,
        PostgresFault::BackendsFrozen => frozen(length, database).await?,
        PostgresFault::ConnectionLimit => {
            database.run(&["ALTER ROLE veilpost_writer CONNECTION LIMIT 0"]).await?;
            let refused = async {
                database.terminate_writers().await?;
                logged(database, "53300", length).await
            };
            let refused = refused.await;
            database.run(&["ALTER ROLE veilpost_writer CONNECTION LIMIT -1"]).await?;
            refused?
        }
        PostgresFault::TableLocked => {
            let mut connection = database.connect().await?;
            sqlx::raw_sql("BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
                .execute(&mut connection)
                .await?;
            let seen = logged(database, "55P03", length).await?;
            connection.close().await?;
            seen
        }
        PostgresFault::StatementTimeout => {
            database.run(&["UPDATE fault.slowness SET seconds = 10"]).await?;
            let seen = logged(database, "57014", length).await;
            database.run(&["UPDATE fault.slowness SET seconds = 0"]).await?;
            seen?
        }
        PostgresFault::ReadOnly => {
            database.run(&["ALTER SYSTEM SET default_transaction_read_only = on", RELOAD]).await?;
            let seen = logged(database, "25006", length).await;
            database.run(&["ALTER SYSTEM RESET default_transaction_read_only", RELOAD]).await?;
            seen?
        }
        PostgresFault::EverythingRefused => {
            database.run(&["INSERT INTO fault.refusal VALUES (NULL, 'U0001')"]).await?;
            let seen = logged(database, "U0001", length).await;
            database.run(&["DELETE FROM fault.refusal WHERE user_id IS NULL"]).await?;
            seen?
        }
        PostgresFault::SequenceUsedUp => {
            database.run(&["SELECT setval('fault.numbers', 1000000000)"]).await?;
            let seen = logged(database, "2200H", length).await;
            database.run(&["SELECT setval('fault.numbers', 1)"]).await?;
            seen?
        }
        PostgresFault::TypesChanged => types_changed(length, pipeline).await?,
        PostgresFault::ClockBehind => {
            clock_moved("UPDATE fault.clock SET days = -5", length, pipeline).await?
        }
        PostgresFault::ClockAhead => {
            clock_moved("UPDATE fault.clock SET days = 20", length, pipeline).await?
        }
        PostgresFault::DiskFull => {
            let Ok(disk) = &pipeline.disk else { return Ok(None) };
            disk.fill()?;
            let seen = logged(database, "53100", length).await;
            disk.empty()?;
            seen?
        }
    };
    Ok(Some(seen))
}

/// Longer than a writer waits for an answer: its statement timeout and five seconds.
const WRITERS_PATIENCE: Duration = Duration::from_secs(7);

const RELOAD: &str = "SELECT pg_reload_conf()";

/// How many connections of writers the end of the server cut.
async fn down(fault: PostgresFault, length: Duration, pipeline: &ProxiedPipeline) -> anyhow::Result<u64> {
    let connections = connections(&pipeline.database).await?;
    let mut stack = pipeline.stack().await;
    match fault {
        PostgresFault::ImmediateShutdown => stack.postgres.crash().await?,
        _ => stack.postgres.stop().await?,
    }
    sleep(length).await;
    stack.postgres.start_again().await?;
    Ok(connections)
}

/// What the types are changed to and back: each takes every value that the other takes.
const TYPES: [&[&str]; 2] = [
    &["ALTER TABLE events ALTER masked_ip TYPE text, ALTER extra TYPE json"],
    &["ALTER TABLE events ALTER masked_ip TYPE varchar(256), ALTER extra TYPE jsonb"],
];

/// What a writer says when it holds records because of a clock.
const HELD_FOR_CLOCKS: &str = "by a clock that may be wrong";

/// How often writers say that they hold records, by their logs. A writer reads the clock when it connects.
async fn clock_moved(
    moved: &'static str,
    length: Duration,
    pipeline: &ProxiedPipeline,
) -> anyhow::Result<u64> {
    let (begun, before) = (Instant::now(), said(pipeline, HELD_FOR_CLOCKS).await?);
    pipeline.database.run(&[moved]).await?;
    let held = async {
        pipeline.database.terminate_writers().await?;
        sleep(length).await;
        loop {
            let held = said(pipeline, HELD_FOR_CLOCKS).await? - before;
            if held > 0 || begun.elapsed() > length + TARGET_PATIENCE {
                return anyhow::Ok(held);
            }
            sleep(POLL_INTERVAL).await;
        }
    };
    let held = held.await;
    pipeline.database.run(&["UPDATE fault.clock SET days = 0"]).await?;
    held
}

/// How often the services' logs say this.
async fn said(pipeline: &ProxiedPipeline, what: &str) -> anyhow::Result<u64> {
    let logs = pipeline.logs().await?;
    Ok(u64::try_from(logs.iter().map(|(_, text)| text.matches(what).count()).sum::<usize>())?)
}

/// What a writer's status says when it finds that the definition has changed.
const CHANGED: &str = "the table's definition has changed";

/// How many streams ended because of it, by the services' logs.
async fn types_changed(length: Duration, pipeline: &ProxiedPipeline) -> anyhow::Result<u64> {
    let ended = async || said(pipeline, CHANGED).await;
    let (begun, before) = (Instant::now(), ended().await?);
    let mut changes = TYPES.into_iter().cycle();
    let mut rounds = 0_u32;
    loop {
        if let Some(change) = changes.next() {
            pipeline.database.run(change).await?;
            rounds += 1;
        }
        sleep(length / 6).await;
        let seen = ended().await? - before;
        let over = begun.elapsed() > length && (seen > 0 || begun.elapsed() > length + TARGET_PATIENCE);
        if over && rounds.is_multiple_of(2) {
            return Ok(seen);
        }
    }
}

/// Waits until writers are connected, and tells how often.
async fn connections(database: &FaultDatabase) -> anyhow::Result<u64> {
    let until = Instant::now() + TARGET_PATIENCE;
    loop {
        let connections = database.writers_connections().await?;
        if connections > 0 || Instant::now() > until {
            return Ok(connections);
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// What a frozen backend was about to commit it commits when it is resumed, though its writer has long tried
/// again on another connection.
async fn frozen(length: Duration, database: &FaultDatabase) -> anyhow::Result<u64> {
    connections(database).await?;
    let backends = database.writers_backends().await?;
    let signal = |signal| backends.iter().filter(|pid| kill_process(**pid, signal).is_ok()).count();
    let frozen = signal(Signal::STOP);
    sleep(WRITERS_PATIENCE + length).await;
    signal(Signal::CONT);
    Ok(u64::try_from(frozen)?)
}

async fn terminated(length: Duration, database: &FaultDatabase) -> anyhow::Result<u64> {
    let (begun, mut terminated) = (Instant::now(), 0);
    while begun.elapsed() < length || (terminated == 0 && begun.elapsed() < TARGET_PATIENCE) {
        terminated += database.terminate_writers().await?;
        sleep(length / 8).await;
    }
    Ok(terminated)
}

/// How often Postgres logs an error within `length`. Waits longer, until there is one.
async fn logged(database: &FaultDatabase, sqlstate: &str, length: Duration) -> anyhow::Result<u64> {
    let (begun, before) = (Instant::now(), database.logged(sqlstate)?);
    sleep(length).await;
    loop {
        let seen = database.logged(sqlstate)? - before;
        if seen > 0 || begun.elapsed() > length + TARGET_PATIENCE {
            return Ok(seen);
        }
        sleep(POLL_INTERVAL).await;
    }
}
