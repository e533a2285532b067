//! A synchronous failover under load: the standby is cut off, commits hang and are interrupted, the primary
//! dies, and the standby takes over. Everything that the queue no longer has must be there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::time::sleep;
use veilpost_testkit::FaultProxy;

use crate::database::FaultDatabase;
use crate::fault::{FailoverFault, Fault, Hop};
use crate::load;
use crate::mix::MessageMix;
use crate::pipeline::{PipelineOptions, ProxiedPipeline};
use crate::round::{FaultRound, check, settle};
use crate::seeded_rng::SeededRng;
use crate::tally::Tally;

const STANDBY: &str = "replica";

const PATIENCE: Duration = Duration::from_mins(1);

const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Rows that both servers have before the standby is cut off.
const ROWS_BEFORE: u64 = 300;

/// Runs one failover; the seed gives the order of the interruptions. An error is a failure of the harness
/// itself.
pub(crate) async fn run(seed: u64) -> anyhow::Result<FaultRound> {
    let tally = Tally::default();
    let mut pipeline = ProxiedPipeline::start(PipelineOptions::default()).await?;
    let primary = ([127, 0, 0, 1], pipeline.stack().await.postgres.port()).into();
    let replication = FaultProxy::before(primary).await?;
    let standby = {
        let mut stack = pipeline.stack().await;
        stack.postgres.start_standby(STANDBY, replication.address().port()).await?
    };
    let over = AtomicBool::new(false);
    let failover = async {
        let interrupted = interrupt(&pipeline, &replication, seed, &tally).await;
        if let Ok(waiting) = interrupted {
            let begun = Instant::now();
            pipeline.stack().await.postgres.crash().await?;
            standby.promote().await?;
            for proxy in pipeline.proxies(Hop::Postgres) {
                proxy.redirect(([127, 0, 0, 1], standby.port()).into());
            }
            sleep(Duration::from_secs(2)).await;
            tally.note(Fault::Failover(FailoverFault::StandbyPromoted), begun, Some(waiting));
        }
        over.store(true, Ordering::SeqCst);
        Ok(interrupted)
    };
    let (interrupted, sent) =
        tokio::try_join!(failover, load::send(&pipeline, MessageMix::new(seed), &over))?;
    let waited = "commits wait for the standby after each interruption";
    let checks = vec![check(waited, interrupted.map(|_waiting| ()))];
    pipeline.database = FaultDatabase::of(&standby);
    settle(&pipeline, format!("failover {seed}"), checks, tally.injections(), sent).await
}

/// Cuts the standby off and interrupts the commits that wait for it, in every way. Returns how many wait in
/// the end.
async fn interrupt(
    pipeline: &ProxiedPipeline,
    replication: &FaultProxy,
    seed: u64,
    tally: &Tally,
) -> anyhow::Result<u64> {
    let database = &pipeline.database;
    let wait_for_standby = "ALTER SYSTEM SET synchronous_standby_names = 'replica'";
    database.run(&[wait_for_standby, "SELECT pg_reload_conf()"]).await?;
    reaches("standbys", 1, async || database.synchronous_standbys().await).await?;
    reaches("rows", ROWS_BEFORE, async || database.row_count().await).await?;
    replication.fall_silent();
    let mut ways =
        [FailoverFault::WaitsCancelled, FailoverFault::ConnectionsTerminated, FailoverFault::PrimaryCrashed];
    SeededRng::new(seed, 6).shuffle(&mut ways);
    for way in ways {
        let waiting = reaches("waiting commits", 1, async || database.waiting_commits().await).await?;
        let begun = Instant::now();
        let hits = match way {
            FailoverFault::WaitsCancelled => cancel_again_and_again(database).await?,
            FailoverFault::ConnectionsTerminated => database.terminate_writers().await?,
            FailoverFault::PrimaryCrashed | FailoverFault::StandbyPromoted => {
                let mut stack = pipeline.stack().await;
                stack.postgres.crash().await?;
                stack.postgres.start_again().await?;
                waiting
            }
        };
        sleep(Duration::from_secs(1)).await;
        tally.note(Fault::Failover(way), begun, Some(hits));
    }
    reaches("waiting commits", 1, async || database.waiting_commits().await).await
}

/// A commit that is repeated waits again, and is cancelled again. Returns how many waits were cancelled.
async fn cancel_again_and_again(database: &FaultDatabase) -> anyhow::Result<u64> {
    let mut cancelled = 0;
    for _ in 0..3 {
        reaches("waiting commits", 1, async || database.waiting_commits().await).await?;
        cancelled += database.cancel_waiting_commits().await?;
        sleep(Duration::from_millis(300)).await;
    }
    Ok(cancelled)
}

/// Waits until there are at least `least` of them, and returns how many there are.
async fn reaches(
    what: &str,
    least: u64,
    mut count: impl AsyncFnMut() -> anyhow::Result<u64>,
) -> anyhow::Result<u64> {
    let begun = Instant::now();
    loop {
        let found = count().await?;
        if found >= least {
            return Ok(found);
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE, "{found} {what}, wanted {least}");
        sleep(POLL_INTERVAL).await;
    }
}
