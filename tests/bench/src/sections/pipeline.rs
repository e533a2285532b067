//! Queue to committed rows through the three services, compared with a bare receive-and-delete loop.

use anyhow::Context;
use jiff::Timestamp;
use uuid::Uuid;
use veilpost_local::numbers::float;

use crate::bodies::Bodies;
use crate::cpu::{cpu_of, own_cpu};
use crate::feed::{Drained, Feed};
use crate::figures::{Figures, Results};
use crate::replicas::{Plan, Replicas, ReplicasCpu};
use crate::testbed::Testbed;
use crate::worker::{Work, Worker};

/// The share of the full rate at which the latency without a backlog is measured.
const HALF: f64 = 0.5;

/// The longest that the measurement at half the rate takes.
const HALF_SECONDS: f64 = 10.0;

pub(crate) async fn measure(testbed: &mut Testbed, results: &mut Results) -> anyhow::Result<()> {
    let bodies = Bodies::logins();
    let messages = testbed.settings.messages;
    for _ in 0..testbed.settings.repetitions {
        let through = pipeline(testbed, results, &bodies, messages, None).await?;
        through.record(&mut results.figures, "end-to-end");
        let bare = bare(testbed, &bodies).await?;
        let (rate, bare_rate) = (through.rate(), bare.rate(messages));
        results.figures.add("bare-queue.rate", "msg/s", bare_rate);
        results.figures.add("bare-queue.cpu", "µs", bare.cpu * 1e6 / float(messages));
        results.figures.add("bare-queue.queue-cpu", "µs", bare.queue_cpu * 1e6 / float(messages));
        results.figures.add("bare-queue.feed-cpu", "µs", bare.feed_cpu * 1e6 / float(messages));
        results.figures.add("bare-queue.backlog", "messages", bare.drained.mean_backlog);
        results.figures.add("end-to-end.ratio", "ratio", rate / bare_rate);
        results.figures.add("reader.cpu-ratio", "ratio", through.cpu.reader / bare.cpu);
    }
    let rate = results.figures.value("end-to-end.rate").context("no rate")? * HALF;
    let count = veilpost_local::numbers::whole((rate * HALF_SECONDS).min(float(messages)));
    pipeline(testbed, results, &bodies, count, Some(rate))
        .await?
        .record_latency(&mut results.figures, "half-load");
    Ok(())
}

/// One repetition through the services.
#[derive(Clone, Debug)]
pub(crate) struct Through {
    pub(crate) messages: u64,
    pub(crate) drained: Drained,
    pub(crate) cpu: ReplicasCpu,
    pub(crate) queue_cpu: f64,
    pub(crate) postgres_cpu: f64,
    pub(crate) feed_cpu: f64,
    /// p50, p99 and p99.9 from sent to committed, in milliseconds.
    pub(crate) latency: Vec<f64>,
    /// Peak memory of reader, masker and writer, in MiB.
    pub(crate) memory: [f64; 3],
    pub(crate) wal_bytes: f64,
}

impl Through {
    pub(crate) fn rate(&self) -> f64 {
        float(self.messages) / self.drained.seconds
    }

    /// CPU time a message, in microseconds: the same number as CPU-seconds a million messages.
    pub(crate) fn per_message(&self, cpu: f64) -> f64 {
        cpu * 1e6 / float(self.messages)
    }

    pub(crate) fn record(&self, figures: &mut Figures, name: &str) {
        figures.add(&format!("{name}.rate"), "msg/s", self.rate());
        let cpus = [
            ("reader", self.cpu.reader),
            ("masker", self.cpu.masker),
            ("writer", self.cpu.writer),
            ("queue", self.queue_cpu),
            ("postgres", self.postgres_cpu),
            ("feed", self.feed_cpu),
        ];
        for (who, cpu) in cpus {
            figures.add(&format!("{name}.cpu-{who}"), "µs", self.per_message(cpu));
        }
        for (who, memory) in ["reader", "masker", "writer"].into_iter().zip(self.memory) {
            figures.add_peak(&format!("{name}.memory-{who}"), "MiB", memory);
        }
        figures.add(&format!("{name}.backlog"), "messages", self.drained.mean_backlog);
        figures.add(&format!("{name}.wal"), "bytes", self.wal_bytes / float(self.messages));
        self.record_latency(figures, name);
    }

    fn record_latency(&self, figures: &mut Figures, name: &str) {
        for (quantile, milliseconds) in ["p50", "p99", "p999"].into_iter().zip(&self.latency) {
            figures.add(&format!("{name}.latency-{quantile}"), "ms", *milliseconds);
        }
    }
}

async fn pipeline(
    testbed: &mut Testbed,
    results: &mut Results,
    bodies: &Bodies,
    messages: u64,
    rate: Option<f64>,
) -> anyhow::Result<Through> {
    let url = testbed.new_queue().await?;
    let calls = testbed.settings.calls.map(|calls| calls.to_string());
    let calls =
        calls.iter().flat_map(|calls| [("--pollers-max", calls.clone()), ("--deletes-max", calls.clone())]);
    let plan = Plan { queue_url: url, reader_arguments: calls.collect(), ..Plan::default() };
    through(testbed, results, bodies, messages, rate, &plan).await
}

/// Starts what `plan` says, feeds `messages` through it and stops it again; every message must be one row and
/// one key.
pub(crate) async fn through(
    testbed: &mut Testbed,
    results: &mut Results,
    bodies: &Bodies,
    messages: u64,
    rate: Option<f64>,
    plan: &Plan,
) -> anyhow::Result<Through> {
    let mut replicas = testbed.start_replicas(plan).await?;
    let start = Timestamp::now().as_millisecond();
    let keys_before = testbed.count("SELECT count(*) FROM veilpost.ledger").await?;
    testbed.checkpoint().await?;
    let before = Snapshot::take(testbed, &replicas).await?;
    let backlog = testbed.settings.backlog;
    let feed = Feed { backlog, rate, ..Feed::new(&testbed.queue, &plan.queue_url, bodies, messages) };
    let drained = feed.until_drained().await?;
    let after = Snapshot::take(testbed, &replicas).await?;
    replicas.ensure_running()?;
    let memory =
        [&replicas.readers, &replicas.maskers, &replicas.writers].map(|services| peak_mebibytes(services));
    replicas.stop().await?;
    let keys = testbed.count("SELECT count(*) FROM veilpost.ledger").await? - keys_before;
    results.checks.equal("keys in the ledger", keys, messages);
    let latency = latency(testbed, start).await?;
    Ok(Through {
        messages,
        drained,
        cpu: after.replicas.since(before.replicas),
        queue_cpu: after.queue - before.queue,
        postgres_cpu: after.postgres - before.postgres,
        feed_cpu: after.own - before.own,
        latency,
        memory,
        wal_bytes: after.wal - before.wal,
    })
}

/// The resources that all processes have used so far.
struct Snapshot {
    replicas: ReplicasCpu,
    queue: f64,
    postgres: f64,
    own: f64,
    wal: f64,
}

impl Snapshot {
    async fn take(testbed: &mut Testbed, replicas: &Replicas) -> anyhow::Result<Self> {
        Ok(Self {
            wal: testbed.wal_bytes().await?,
            replicas: replicas.cpu()?,
            queue: cpu_of(testbed.queue.pid())?,
            postgres: cpu_of(testbed.postgres.pid())?,
            own: own_cpu()?,
        })
    }
}

pub(crate) fn peak_mebibytes(services: &[veilpost_local::process::ServiceProcess]) -> f64 {
    let bytes = services.iter().filter_map(veilpost_local::process::ServiceProcess::peak_memory).max();
    bytes.map_or(f64::NAN, |bytes| float(bytes) / 1_048_576.0)
}

/// p50, p99 and p99.9 of all messages sent since `start`, by Postgres's own commit times and the sent times
/// in the keys.
async fn latency(testbed: &mut Testbed, start: i64) -> anyhow::Result<Vec<f64>> {
    const LATENCY: &str = "
        SELECT percentile_disc(ARRAY[0.5, 0.99, 0.999]) WITHIN GROUP (ORDER BY
            extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 * 1000
            - ('x' || left(replace(key::text, '-', ''), 12))::bit(48)::bigint::float8)
        FROM veilpost.ledger WHERE key >= $1";
    let first = Uuid::from_u128(u128::try_from(start)? << 80);
    let query = sqlx::query_scalar::<_, Option<Vec<f64>>>(LATENCY).bind(first);
    query.fetch_one(&mut testbed.database).await?.context("no message has a latency")
}

/// The bare loop's repetition.
struct Loop {
    drained: Drained,
    cpu: f64,
    queue_cpu: f64,
    feed_cpu: f64,
}

impl Loop {
    fn rate(&self, messages: u64) -> f64 {
        float(messages) / self.drained.seconds
    }
}

async fn bare(testbed: &mut Testbed, bodies: &Bodies) -> anyhow::Result<Loop> {
    let url = testbed.new_queue().await?;
    let (count, backlog) = (testbed.settings.messages, testbed.settings.backlog);
    let endpoint = testbed.queue.endpoint.clone();
    let work = Work::Drain { endpoint, url: url.clone(), count, calls: testbed.settings.bare_calls() };
    let worker = Worker::start(&work, "").await?;
    let (own, queue) = (own_cpu()?, cpu_of(testbed.queue.pid())?);
    let feed = Feed { backlog, ..Feed::new(&testbed.queue, &url, bodies, count) };
    let (drained, effort) = tokio::try_join!(feed.until_drained(), worker.effort())?;
    let queue_cpu = cpu_of(testbed.queue.pid())? - queue;
    // The worker is a child of this process, and has ended.
    let feed_cpu = own_cpu()? - own - effort.cpu_seconds;
    Ok(Loop { drained, cpu: effort.cpu_seconds, queue_cpu, feed_cpu })
}
