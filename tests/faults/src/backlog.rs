//! Memory and backlog: a long queue while Postgres is down, and queues full of poison.

use std::fmt::Write;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{MissedTickBehavior, interval, sleep};
use veilpost_local::output::say;
use veilpost_local::process::{ServiceProcess, memory};
use veilpost_testkit::{Stack, Standstill, login, send_batch};

use crate::round::Check;

/// The most memory that a service may use, in bytes.
const LIMIT: u64 = 64 << 20;

/// Batches on their way to the queue at once.
const SENDERS: usize = 12;

/// A poisoned queue must drain at least at the clean queue's rate divided by this.
const SANE: f64 = 60.0;

/// How long a drain may stand still.
const STANDSTILL: Standstill = Standstill { waiting: Duration::from_mins(1), hidden: Duration::from_mins(1) };

/// How much, and for how long Postgres is down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) messages: u64,
    pub(crate) outage: Duration,
    /// Messages of each of the queues whose rates are compared.
    pub(crate) compared: u64,
}

impl Size {
    /// The size that is judged by; takes a release build and some minutes.
    pub(crate) fn of(messages: u64) -> Self {
        Self { messages, outage: Duration::from_mins(1), compared: (messages / 20).clamp(2_000, 50_000) }
    }

    /// For every change, with a debug build.
    pub(crate) fn small() -> Self {
        Self { messages: 15_000, outage: Duration::from_secs(5), compared: 1_500 }
    }
}

/// The results, in words and as checks.
#[derive(Debug)]
pub(crate) struct Backlog {
    pub(crate) report: String,
    pub(crate) checks: Vec<Check>,
}

impl Backlog {
    pub(crate) async fn run(size: Size) -> anyhow::Result<Self> {
        let mut this = Self { report: String::new(), checks: Vec::new() };
        this.compare_rates(size.compared).await?;
        this.outage(size).await?;
        Ok(this)
    }

    async fn compare_rates(&mut self, messages: u64) -> anyhow::Result<()> {
        let clean = drain_rate(messages, |number| login(&format!("clean-{number}"))).await?;
        self.row("queue", "messages a second", "of a clean queue");
        self.row("---", "--:", "--:");
        self.row("clean", &format!("{clean:.0}"), "1.00");
        for (name, body) in KINDS {
            let rate = drain_rate(messages, body).await?;
            self.row(name, &format!("{rate:.0}"), &format!("{:.3}", rate / clean));
            let result = if rate * SANE >= clean {
                Ok(())
            } else {
                Err(format!("{name}: {rate:.0} of {clean:.0} a second"))
            };
            self.checks.push(Check { what: "poison drains at a sane rate", result });
        }
        Ok(())
    }

    fn row(&mut self, first: &str, second: &str, third: &str) {
        // A string takes everything.
        writeln!(self.report, "| {first} | {second} | {third} |").ok();
    }

    /// Fills the queue while Postgres is down; the same processes then store everything.
    async fn outage(&mut self, size: Size) -> anyhow::Result<()> {
        let mut stack = running(&[]).await?;
        let pids = pids(&stack);
        flood(&stack, 2_000.min(size.messages), |number| login(&format!("before-{number}"))).await?;
        drained(&stack).await?;
        let before = resident(&stack);
        stack.postgres.stop().await?;
        let begun = Instant::now();
        let mut watch = Watch::new(&stack);
        watch.during(flood(&stack, size.messages, |number| login(&format!("user-{number}")))).await?;
        let filled = begun.elapsed();
        let rest = async {
            sleep(size.outage.saturating_sub(begun.elapsed())).await;
            Ok(())
        };
        watch.during(rest).await?;
        let after = resident(&stack);
        let down = begun.elapsed();
        stack.postgres.start_again().await?;
        let begun = Instant::now();
        watch.during(drained(&stack)).await?;
        let drained = begun.elapsed();
        let rows = stack.rows().await?;
        let expected = i64::try_from(size.messages + 2_000.min(size.messages))?;
        let survived = if self::pids(&stack) == pids {
            stack.stop().await
        } else {
            Err(anyhow::anyhow!("not the same processes"))
        };
        let peak = watch.peak;
        writeln!(
            self.report,
            "\n{} messages were sent within {:.0} s while Postgres was down for {:.0} s; stored within {:.0} s after its start.\n",
            size.messages,
            filled.as_secs_f64(),
            down.as_secs_f64(),
            drained.as_secs_f64()
        )?;
        self.row("service", "MiB before / at the end of the outage", "most MiB");
        self.row("---", "--:", "--:");
        for (((name, before), after), peak) in NAMES.iter().zip(before).zip(after).zip(peak) {
            self.row(name, &format!("{} / {}", before >> 20, after >> 20), &(peak >> 20).to_string());
            let result = if peak < LIMIT { Ok(()) } else { Err(format!("{name} took {} MiB", peak >> 20)) };
            self.checks.push(Check { what: "memory stays under 64 MiB with a backlog", result });
        }
        let stored = if rows == expected { Ok(()) } else { Err(format!("{rows} rows, not {expected}")) };
        self.checks.push(Check { what: "the whole backlog is stored once", result: stored });
        let survived = survived.map_err(|error| format!("{error:#}"));
        self.checks.push(Check { what: "recovery needs no restart", result: survived });
        Ok(())
    }
}

type Body = fn(u64) -> String;

/// What masker, writer and database reject, each on their own.
const KINDS: [(&str, Body); 6] = [
    ("every tenth poison, of all kinds", |number| tenth(number, poison)),
    ("every tenth against a constraint", |number| tenth(number, |_| login("poison"))),
    ("only poison, of all kinds", poison),
    ("only poison, not JSON", |_| "not json".to_owned()),
    ("only poison, text too long", |number| too_long(number)),
    ("only poison, against a constraint", |_| login("poison")),
];

fn tenth(number: u64, poison: impl Fn(u64) -> String) -> String {
    if number % 10 == 9 { poison(number / 10) } else { login(&format!("good-{number}")) }
}

fn poison(number: u64) -> String {
    match number % 3 {
        0 => "not json".to_owned(),
        1 => too_long(number),
        _ => login("poison"),
    }
}

fn too_long(number: u64) -> String {
    login(&format!("{number}-{}", "x".repeat(128)))
}

const NAMES: [&str; 3] = ["reader", "masker", "writer"];

/// One of each service; the reader only where it is wanted.
async fn running(reader: &[(&str, &str)]) -> anyhow::Result<Stack> {
    let mut stack = without_reader().await?;
    stack.start_reader(reader).await?;
    Ok(stack)
}

async fn without_reader() -> anyhow::Result<Stack> {
    let mut stack = Stack::bare().await?;
    stack.start_writer(&[]).await?;
    let mut database = stack.database().await?;
    sqlx::raw_sql("ALTER TABLE user_logins ADD CONSTRAINT no_poison CHECK (user_id <> 'poison')")
        .execute(&mut database)
        .await?;
    stack.start_masker(&[]).await?;
    Ok(stack)
}

/// Messages a second, from the reader's start to the empty queue, with all of them in the queue before.
async fn drain_rate(messages: u64, body: impl Fn(u64) -> String) -> anyhow::Result<f64> {
    let mut stack = without_reader().await?;
    flood(&stack, messages, body).await?;
    stack.start_reader(&[]).await?;
    let begun = Instant::now();
    drained(&stack).await?;
    let took = begun.elapsed();
    stack.stop().await?;
    let messages = f64::from(u32::try_from(messages)?);
    let rate = messages / took.as_secs_f64();
    say(&format!("{messages} messages drained in {:.1} s", took.as_secs_f64()));
    Ok(rate)
}

/// Sends as fast as the queue accepts it.
async fn flood(stack: &Stack, messages: u64, body: impl Fn(u64) -> String) -> anyhow::Result<()> {
    let batches = stream::iter((0..messages).step_by(10)).map(|first| {
        let bodies: Vec<_> = (first..messages.min(first + 10)).map(&body).collect();
        async move { send_batch(&stack.sqs, &stack.pair.url, &bodies).await.map(|_ids| ()) }
    });
    batches.buffer_unordered(SENDERS).try_collect().await
}

/// Waits until the queue is empty, as long as it gets shorter.
async fn drained(stack: &Stack) -> anyhow::Result<Duration> {
    stack.queue_drains(STANDSTILL, async || Ok(())).await
}

fn pids(stack: &Stack) -> Vec<i32> {
    let services = [&stack.readers, &stack.maskers, &stack.writers];
    services.into_iter().flatten().map(ServiceProcess::pid).collect()
}

/// What a reader, a masker and a writer have in RAM now, in bytes.
fn resident(stack: &Stack) -> Vec<u64> {
    pids(stack).into_iter().map(|pid| memory::resident(pid).unwrap_or_default()).collect()
}

/// Looks at the services' memory again and again while something else goes on.
#[derive(Debug)]
struct Watch {
    pids: Vec<i32>,
    peak: Vec<u64>,
}

impl Watch {
    fn new(stack: &Stack) -> Self {
        let pids = pids(stack);
        Self { peak: vec![0; pids.len()], pids }
    }

    async fn during<T>(&mut self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let mut work = std::pin::pin!(work);
        let mut ticks = interval(Duration::from_millis(200));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = ticks.tick() => {
                    for (peak, pid) in self.peak.iter_mut().zip(&self.pids) {
                        *peak = (*peak).max(memory::resident(*pid).unwrap_or_default());
                    }
                }
            }
        }
    }
}
