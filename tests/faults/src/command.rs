//! The command: which rounds to run, and what to say about them.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use veilpost_local::output::{print, say};

use crate::backlog::{Backlog, Size};
use crate::report::conclusion;
use crate::round::FaultRound;
use crate::schedule::Schedule;
use crate::summary::{BadVerdicts, Summary};
use crate::{constant, failover, record_file};

/// The seeds of a run without arguments.
const SEEDS: [u64; 2] = [1, 2];

/// A long run has a synchronous failover after each round with a seed that this divides, and constant errors
/// after each second one of them.
const FAILOVER_EVERY: u64 = 5;

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

    /// Run random seeds for this many hours, with failovers and constant errors in between
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

    /// Append what each round found to this file, one JSON line each; several runs may share it
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,

    /// Run nothing, but add up the rounds recorded in these files and print the table
    #[arg(long, value_name = "FILE", num_args = 1..,
          conflicts_with_all = ["seed", "long", "backlog", "failover", "constant", "record", "dry"])]
    table: Vec<PathBuf>,

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
        let mut run = FaultRun { sum: Summary::default(), record: self.record.clone() };
        if !self.table.is_empty() {
            self.table.iter().try_for_each(|path| record_file::add_to(&mut run.sum, path))?;
        } else if let Some(hours) = self.long {
            run.long(hours).await?;
        } else if let Some(messages) = self.backlog {
            run.backlog(Size::of(messages)).await?;
        } else if self.constant {
            run.constant().await?;
        } else if !self.failover.is_empty() {
            for seed in &self.failover {
                run.failover(*seed).await?;
            }
        } else {
            for seed in self.seeds() {
                run.seed(seed).await?;
            }
            if self.seed.is_empty() {
                run.failover(SEEDS[0]).await?;
                run.constant().await?;
                run.backlog(Size::small()).await?;
            }
        }
        run.sum.judge_faults();
        print(&conclusion(&run.sum))?;
        let good = run.sum.failed == 0 && run.sum.passed > 0;
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn seeds(&self) -> Vec<u64> {
        if self.seed.is_empty() { SEEDS.to_vec() } else { self.seed.clone() }
    }
}

/// What has run so far.
#[derive(Debug)]
struct FaultRun {
    sum: Summary,
    /// Where each round is recorded.
    record: Option<PathBuf>,
}

impl FaultRun {
    fn add(&mut self, round: Summary) -> anyhow::Result<()> {
        if let Some(path) = &self.record {
            record_file::append(path, &round)?;
        }
        self.sum.merge(round);
        Ok(())
    }

    async fn seed(&mut self, seed: u64) -> anyhow::Result<()> {
        let schedule = Schedule::new(seed);
        say(&schedule.to_string());
        self.round(&format!("seed {seed}"), FaultRound::run(&schedule)).await
    }

    async fn failover(&mut self, seed: u64) -> anyhow::Result<()> {
        self.round(&format!("failover {seed}"), failover::run(seed)).await
    }

    async fn constant(&mut self) -> anyhow::Result<()> {
        self.round("constant errors", constant::run()).await
    }

    async fn round(
        &mut self,
        name: &str,
        round: impl Future<Output = anyhow::Result<FaultRound>>,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        let found = match Box::pin(round).await {
            Ok(round) => {
                say(&line(&round, begun.elapsed()));
                Summary::of(&round)
            }
            Err(error) => Summary::of_failure(format!("{name}: the harness itself failed: {error:#}")),
        };
        self.add(found)
    }

    async fn backlog(&mut self, size: Size) -> anyhow::Result<()> {
        let found = match Backlog::run(size).await {
            Ok(backlog) => {
                let mut found = Summary::default();
                found.check("backlog", &backlog.checks);
                found.tell(backlog.report);
                found
            }
            Err(error) => Summary::of_failure(format!("backlog: the harness itself failed: {error:#}")),
        };
        self.add(found)
    }

    /// Every round has its own seed, which replays it.
    async fn long(&mut self, hours: f64) -> anyhow::Result<()> {
        let (begun, time) = (Instant::now(), Duration::try_from_secs_f64(hours * 3600.0)?);
        let mut seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() * 1000;
        while begun.elapsed() < time {
            self.seed(seed).await?;
            if seed.is_multiple_of(FAILOVER_EVERY) {
                self.failover(seed).await?;
            }
            if seed.is_multiple_of(2 * FAILOVER_EVERY) {
                self.constant().await?;
            }
            self.say_progress(begun.elapsed(), time);
            seed += 1;
        }
        Ok(())
    }

    fn say_progress(&self, since: Duration, time: Duration) {
        let sum = &self.sum;
        let BadVerdicts { lost, twice, both, changed } = sum.verdicts;
        say(&format!(
            "after {} of {} minutes: {} messages, {lost} lost, {twice} stored twice, {both} stored and \
             dead-lettered, {changed} changed, {} checks passed, {} failed",
            since.as_secs() / 60,
            time.as_secs() / 60,
            sum.messages,
            sum.passed,
            sum.failed
        ));
    }
}

fn line(round: &FaultRound, took: Duration) -> String {
    let drained = round.drained_in.map_or("not".to_owned(), |time| format!("in {:.1} s", time.as_secs_f64()));
    let account = &round.account;
    format!(
        "{}: {} messages, {} rows, {} dead letters ({} further copies), the last {} drained {drained}, {:.0} s: {}",
        round.name,
        round.sent.len(),
        account.stored,
        account.dead_lettered,
        account.copies,
        round.left,
        took.as_secs_f64(),
        if round.passed() { "good" } else { "FAILED" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        FaultArguments::command().debug_assert();
    }
}
