//! One round: a pipeline of its own, a schedule of faults, and the oracle at the end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use veilpost_local::certificates::Role;
use veilpost_testkit::Standstill;

use crate::lanes;
use crate::load::{self, Sent};
use crate::mix::{Expected, MessageMix, fingerprint};
use crate::oracle::{Findings, FoundDeadLetter, MessageVerdict, Reconciliation};
use crate::pipeline::{PipelineOptions, ProxiedPipeline};
use crate::schedule::Schedule;
use crate::tally::{Injection, Tally};

/// How long a drain may stand still once nothing is broken any more: longer than visibility timeouts,
/// backoffs and keepalives that are still running, and than the quarter of an hour for which a reader leaves
/// a message after many receives.
const STANDSTILL: Standstill =
    Standstill { waiting: Duration::from_mins(1), hidden: Duration::from_mins(16) };

/// The name in the ledger's keys: the queue's own.
const PIPELINE: &str = "user-logins";

/// What came of a round.
#[derive(Debug)]
pub(crate) struct FaultRound {
    /// What was run: begins with "seed" where a schedule was.
    pub(crate) name: String,
    pub(crate) checks: Vec<Check>,
    pub(crate) injections: Vec<Injection>,
    pub(crate) sent: Sent,
    pub(crate) account: Reconciliation,
    /// In the queue when the last fault was over, and how long it took from there to the empty queue.
    pub(crate) left: i64,
    pub(crate) drained_in: Option<Duration>,
    /// The most memory of a reader, a masker and a writer, in bytes.
    pub(crate) peak_memory: Vec<u64>,
}

/// A statement that must hold, and what is wrong if it does not.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) what: &'static str,
    pub(crate) result: Result<(), String>,
}

impl FaultRound {
    pub(crate) fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.result.is_ok())
    }

    /// Runs the round to its end, whatever goes wrong in the pipeline. An error is a failure of the harness
    /// itself.
    pub(crate) async fn run(schedule: &Schedule) -> anyhow::Result<Self> {
        let options =
            PipelineOptions { encrypted: schedule.encrypted, small_disk: true, ..PipelineOptions::default() };
        let pipeline = ProxiedPipeline::start(options).await?;
        let tally = Tally::default();
        let over = AtomicBool::new(false);
        let faults = async {
            let end = lanes::run(schedule, &pipeline, &tally).await;
            over.store(true, Ordering::SeqCst);
            Ok(end)
        };
        let (faults, sent) =
            tokio::try_join!(faults, load::send(&pipeline, MessageMix::new(schedule.seed), &over))?;
        let survived = check("no process ends but those that are ended, and those exit with 0", faults);
        if survived.result.is_err() {
            pipeline.keep_logs(&name(schedule.seed)).await?;
            return Ok(Self::broken_off(schedule.seed, survived, &tally, sent));
        }
        settle(&pipeline, name(schedule.seed), vec![survived], tally.injections(), sent).await
    }

    fn broken_off(seed: u64, check: Check, tally: &Tally, sent: Sent) -> Self {
        Self {
            name: name(seed),
            checks: vec![check],
            injections: tally.injections(),
            sent,
            account: Reconciliation::default(),
            left: 0,
            drained_in: None,
            peak_memory: Vec::new(),
        }
    }
}

fn name(seed: u64) -> String {
    format!("seed {seed}")
}

pub(crate) fn check(what: &'static str, result: anyhow::Result<()>) -> Check {
    Check { what, result: result.map_err(|error| format!("{error:#}")) }
}

async fn account(pipeline: &ProxiedPipeline, sent: &Sent) -> anyhow::Result<Reconciliation> {
    let letters = pipeline.stack().await.dead_letters().await?;
    let letters = letters.into_iter().map(|letter| FoundDeadLetter {
        message_id: letter.message_id,
        reason: letter.reason,
        fingerprint: fingerprint(&letter.body),
    });
    let (rows_without_key, keys_without_row) = pipeline.database.ledger_differences(PIPELINE).await?;
    let found = Findings {
        rows: pipeline.database.rows().await?,
        letters: letters.collect(),
        rows_without_key,
        keys_without_row,
    };
    let expected: HashMap<String, Expected> =
        sent.iter().map(|(id, message)| (id.clone(), message.expected.clone())).collect();
    Ok(Reconciliation::of(&expected, &found))
}

fn checks_of(account: &Reconciliation) -> Vec<Check> {
    let none = |what, count: u64, of_what: &str| Check {
        what,
        result: if count == 0 { Ok(()) } else { Err(format!("{count} {of_what}")) },
    };
    let wrong = |what, verdicts: &[MessageVerdict]| {
        let found: Vec<_> = account
            .wrong()
            .into_iter()
            .filter(|(verdict, _)| verdicts.contains(verdict))
            .map(|(verdict, (count, id))| format!("{count} {verdict:?}, such as {id}"))
            .collect();
        Check { what, result: if found.is_empty() { Ok(()) } else { Err(found.join("; ")) } }
    };
    vec![
        wrong("no message is lost", &[MessageVerdict::Lost]),
        wrong(
            "no message is stored twice, or stored and dead-lettered",
            &[MessageVerdict::Twice, MessageVerdict::RowAndDeadLetter],
        ),
        wrong(
            "every message has the outcome that the policy says",
            &[MessageVerdict::WrongOutcome, MessageVerdict::WrongReason, MessageVerdict::WrongBody],
        ),
        wrong("every row has the digests of its own message", &[MessageVerdict::WrongDigest]),
        none("no row and no letter without a message", account.strangers, "rows or letters that nobody sent"),
        none("ledger and table agree", account.ledger_differs, "rows or keys without the other"),
    ]
}

/// Drains a pipeline in which nothing is broken any more, ends it, and checks what became of the messages;
/// `checks` are those of its faults. When something is wrong, the logs are kept under `name`.
pub(crate) async fn settle(
    pipeline: &ProxiedPipeline,
    name: String,
    mut checks: Vec<Check>,
    injections: Vec<Injection>,
    sent: Sent,
) -> anyhow::Result<FaultRound> {
    let (waiting, hidden) = pipeline.depth().await?;
    let drained = pipeline.drained(STANDSTILL).await;
    let drained_in = drained.as_ref().ok().copied();
    let account = account(pipeline, &sent).await?;
    let mut peak_memory = Vec::new();
    for role in Role::ALL {
        peak_memory.push(pipeline.peak_memory(role).await);
    }
    checks.push(check("the queue drains, nothing stays hidden", drained.map(|_| ())));
    checks.extend(checks_of(&account));
    checks.push(check("every process exits with 0 on SIGTERM", pipeline.terminate().await));
    checks.push(check("nothing changes while the processes end", unchanged(pipeline, &account).await));
    checks.push(check("no process panics", no_panic(pipeline).await));
    let left = waiting + hidden;
    let round = FaultRound { name, checks, injections, sent, account, left, drained_in, peak_memory };
    if !round.passed() {
        pipeline.keep_logs(&round.name).await?;
    }
    Ok(round)
}

async fn unchanged(pipeline: &ProxiedPipeline, account: &Reconciliation) -> anyhow::Result<()> {
    let depth = pipeline.depth().await?;
    anyhow::ensure!(depth == (0, 0), "{} messages wait and {} are hidden", depth.0, depth.1);
    let rows = pipeline.database.row_count().await?;
    anyhow::ensure!(rows == account.stored_rows, "{rows} rows, there were {}", account.stored_rows);
    Ok(())
}

async fn no_panic(pipeline: &ProxiedPipeline) -> anyhow::Result<()> {
    for (path, text) in pipeline.logs().await? {
        let panic = text.lines().find(|line| line.contains("panicked"));
        anyhow::ensure!(panic.is_none(), "{}: {}", path.display(), panic.unwrap_or_default());
    }
    Ok(())
}
