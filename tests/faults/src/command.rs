//! The command: which rounds to run, and what to say about them.

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use veilpost_local::output::{print, say};

use crate::backlog::{Backlog, Size};
use crate::round::FaultRound;
use crate::schedule::Schedule;
use crate::summary::Summary;
use crate::{constant, failover};

/// The seeds of a run without arguments.
const SEEDS: [u64; 2] = [1, 2];

/// Breaks a whole pipeline on purpose and accounts for every message.
///
/// Without arguments: some fixed seeds, a few minutes. Ends with `N passed, N failed` on a line of its own;
/// exit status 1 when something failed.
#[derive(Parser, Clone, Debug)]
#[command(name = "tests/faults/run")]
pub(crate) struct FaultArguments {
    /// Run the schedule of this seed; may be given several times
    #[arg(long, value_name = "N")]
    seed: Vec<u64>,

    /// Run random seeds one after the other for this many hours
    #[arg(long, value_name = "HOURS", num_args = 0..=1, default_missing_value = "1", conflicts_with = "seed")]
    long: Option<f64>,

    /// Run no faults, but a backlog of this many messages while Postgres is down for a minute, and queues
    /// full of poison
    #[arg(long, value_name = "MESSAGES", num_args = 0..=1, default_missing_value = "1000000",
          conflicts_with_all = ["seed", "long"])]
    backlog: Option<u64>,

    /// Run no schedule, but synchronous failovers with these seeds; may be given several times
    #[arg(long, value_name = "N", conflicts_with_all = ["seed", "long", "backlog"])]
    failover: Vec<u64>,

    /// Run no schedule, but a load in which some records always fail with the same SQLSTATE
    #[arg(long, conflicts_with_all = ["seed", "long", "backlog", "failover"])]
    constant: bool,

    /// Show the schedule of the seeds and run nothing
    #[arg(long)]
    dry: bool,
}

impl FaultArguments {
    /// Runs what was asked for.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        if self.dry {
            for seed in self.seeds() {
                print(&Schedule::new(seed).to_string())?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let mut summary = Summary::default();
        if let Some(hours) = self.long {
            long(hours, &mut summary).await?;
        } else if let Some(messages) = self.backlog {
            backlog(Size::of(messages), &mut summary).await;
        } else if self.constant {
            constant(&mut summary).await;
        } else if !self.failover.is_empty() {
            for seed in &self.failover {
                let seed = *seed;
                failover(seed, &mut summary).await;
            }
        } else {
            for seed in self.seeds() {
                round(seed, &mut summary).await;
            }
            if self.seed.is_empty() {
                failover(SEEDS[0], &mut summary).await;
                constant(&mut summary).await;
                backlog(Size::small(), &mut summary).await;
            }
        }
        summary.judge_faults();
        print(&conclusion(&summary))?;
        let good = summary.failed == 0 && summary.passed > 0;
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn seeds(&self) -> Vec<u64> {
        if self.seed.is_empty() { SEEDS.to_vec() } else { self.seed.clone() }
    }
}

async fn round(seed: u64, summary: &mut Summary) {
    let schedule = Schedule::new(seed);
    say(&schedule.to_string());
    let begun = Instant::now();
    match FaultRound::run(&schedule).await {
        Ok(round) => {
            summary.add(&round);
            say(&line(&round, begun.elapsed()));
        }
        Err(error) => summary.fail(format!("seed {seed}: the harness itself failed: {error:#}")),
    }
}

async fn backlog(size: Size, summary: &mut Summary) {
    match Backlog::run(size).await {
        Ok(backlog) => {
            summary.check("backlog", &backlog.checks);
            summary.tell(backlog.report);
        }
        Err(error) => summary.fail(format!("backlog: the harness itself failed: {error:#}")),
    }
}

async fn failover(seed: u64, summary: &mut Summary) {
    match failover::run(seed).await {
        Ok(checks) => summary.check(&format!("failover {seed}"), &checks),
        Err(error) => summary.fail(format!("failover {seed}: the harness itself failed: {error:#}")),
    }
}

async fn constant(summary: &mut Summary) {
    match constant::run().await {
        Ok(checks) => summary.check("constant errors", &checks),
        Err(error) => summary.fail(format!("constant errors: the harness itself failed: {error:#}")),
    }
}

/// Every round has its own seed, which replays it.
async fn long(hours: f64, summary: &mut Summary) -> anyhow::Result<()> {
    let (begun, time) = (Instant::now(), Duration::try_from_secs_f64(hours * 3600.0)?);
    let mut seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() * 1000;
    while begun.elapsed() < time {
        round(seed, summary).await;
        let minutes = begun.elapsed().as_secs() / 60;
        say(&format!(
            "after {minutes} of {} minutes: {} messages, {} lost, {} twice, {} checks passed, {} failed",
            time.as_secs() / 60,
            summary.messages,
            summary.lost,
            summary.twice,
            summary.passed,
            summary.failed
        ));
        seed += 1;
    }
    Ok(())
}

fn line(round: &FaultRound, took: Duration) -> String {
    let drained = round.drained_in.map_or("not".to_owned(), |time| format!("in {:.1} s", time.as_secs_f64()));
    let account = &round.account;
    format!(
        "seed {}: {} messages, {} rows, {} dead letters ({} further copies), the last {} drained {drained}, {:.0} s: {}",
        round.seed,
        round.sent.len(),
        account.stored,
        account.dead_lettered,
        account.copies,
        round.left,
        took.as_secs_f64(),
        if round.passed() { "good" } else { "FAILED" }
    )
}

/// Reports, failures with the commands that replay them, and last the line that sums all up.
fn conclusion(summary: &Summary) -> String {
    let mut lines: Vec<String> = summary.reports().to_vec();
    if summary.messages > 0 {
        lines.push(summary.table());
        let peaks = summary.peak_memory().iter().map(|bytes| (bytes >> 20).to_string());
        let peaks = peaks.collect::<Vec<_>>().join(", ");
        lines.push(format!("most memory of a reader, a masker, a writer: {peaks} MiB"));
    }
    lines.extend(summary.skipped().into_iter().map(|(fault, times)| {
        format!("{times} skipped: {fault} (this user may not mount a small file system)")
    }));
    lines.extend_from_slice(summary.failures());
    let mut seeds: Vec<_> = summary.failures().iter().filter_map(|failure| failed_seed(failure)).collect();
    seeds.dedup();
    lines.extend(seeds.into_iter().map(|seed| format!("replay: tests/faults/run --seed {seed}")));
    lines.push(format!("{} passed, {} failed\n", summary.passed, summary.failed));
    lines.join("\n")
}

fn failed_seed(failure: &str) -> Option<u64> {
    failure.strip_prefix("seed ")?.split(':').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        FaultArguments::command().debug_assert();
    }

    #[test]
    fn a_failure_tells_its_seed() {
        assert_eq!(failed_seed("seed 17: not so: x"), Some(17));
        assert_eq!(failed_seed("Postgres: restart: injected"), None);
    }
}
