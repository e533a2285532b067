//! How cost grows with replicas, body sizes and columns, and what the distance to the queue does.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use sqlx::AssertSqlSafe;
use tokio::time::sleep;
use veilpost_local::numbers::{float, whole};
use veilpost_local::output::say;
use veilpost_local::process::ServiceProcess;
use veilpost_testkit::LatencyProxy;

use super::pipeline::{Through, through};
use crate::bodies::Bodies;
use crate::cpu::cpu_of;
use crate::feed::Feed;
use crate::figures::Results;
use crate::replicas::Plan;
use crate::testbed::Testbed;

pub(crate) const REPLICAS: [u32; 3] = [1, 2, 3];
pub(crate) const BODY_BYTES: [u32; 6] = [200, 1_024, 4_096, 16_384, 65_536, 262_144];
pub(crate) const COLUMNS: [u32; 4] = [3, 7, 20, 50];

/// Milliseconds by which the queue's answers are late.
pub(crate) const LATENCIES: [u32; 3] = [1, 20, 100];

/// A distant queue gets one message in this many of a repetition, because eight calls at once take long.
const DISTANT_SHARE: u64 = 4;

const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// One column in this many is a digest, as in the default policy.
const DIGEST_EVERY: u32 = 4;

/// Bytes of bodies that one repetition moves, at most.
const MOST_BYTES: f64 = 256e6;

/// Bytes of bodies that wait in the queue, at most.
const BACKLOG_BYTES: f64 = 32e6;

pub(crate) async fn measure(testbed: &mut Testbed, results: &mut Results) -> anyhow::Result<()> {
    let logins = Bodies::logins();
    for count in REPLICAS {
        say(&format!("  {count} of each service"));
        let plan = Plan { readers: count, maskers: count, writers: count, ..Plan::default() };
        let through = grown(testbed, results, &logins, plan).await?;
        record(results, &format!("growth.replicas.{count}"), &through);
    }
    for bytes in BODY_BYTES {
        say(&format!("  bodies of {bytes} bytes"));
        let bodies = Bodies::logins_of(usize::try_from(bytes)?);
        let through = grown(testbed, results, &bodies, Plan::default()).await?;
        let name = format!("growth.body.{bytes}");
        record(results, &name, &through);
        results.figures.add(&format!("{name}.bytes"), "MB/s", through.rate() * bodies.mean_bytes() / 1e6);
    }
    for columns in COLUMNS {
        say(&format!("  {columns} columns"));
        let (table, policy) = columns_of(testbed, columns).await?;
        let bodies = Bodies::with_fields(columns);
        let plan = Plan { table, policy: Some(policy), ..Plan::default() };
        let through = grown(testbed, results, &bodies, plan).await?;
        record(results, &format!("growth.columns.{columns}"), &through);
    }
    for latency in LATENCIES {
        say(&format!("  answers {latency} ms later"));
        let name = format!("growth.latency.{latency}");
        let proxy =
            LatencyProxy::before(testbed.queue.address()?, Duration::from_millis(latency.into())).await?;
        let adapting = distant(testbed, results, &proxy, &[]).await?;
        results.figures.add(&format!("{name}.rate"), "msg/s", adapting.rate);
        results.figures.add(&format!("{name}.cpu-reader"), "µs", adapting.reader_cpu);
        results.figures.add(&format!("{name}.receives"), "calls", adapting.receives);
        results.figures.add(&format!("{name}.deletes"), "calls", adapting.deletes);
        let flags = ["--pollers-min", "--pollers-max", "--deletes-max"];
        let eight = distant(testbed, results, &proxy, &flags.map(|flag| (flag, "8".to_owned()))).await?;
        results.figures.add(&format!("{name}.eight"), "msg/s", eight.rate);
    }
    Ok(())
}

/// A reader far from its queue.
struct Distant {
    rate: f64,
    /// Microseconds a message.
    reader_cpu: f64,
    /// The most receives and deletes that it allowed itself at once.
    receives: f64,
    deletes: f64,
}

async fn distant(
    testbed: &mut Testbed,
    results: &mut Results,
    proxy: &LatencyProxy,
    arguments: &[(&'static str, String)],
) -> anyhow::Result<Distant> {
    let plan = Plan {
        queue_url: testbed.new_queue().await?,
        queue_endpoint: Some(format!("http://{}", proxy.address())),
        reader_arguments: arguments.to_vec(),
        ..Plan::default()
    };
    let mut replicas = testbed.start_replicas(&plan).await?;
    let keys_before = testbed.count("SELECT count(*) FROM veilpost.ledger").await?;
    let (bodies, count) = (Bodies::logins(), testbed.settings.messages / DISTANT_SHARE);
    let backlog = testbed.settings.backlog;
    let feed = Feed { backlog, ..Feed::new(&testbed.queue, &plan.queue_url, &bodies, count) };
    let (mut receives, mut deletes) = (0.0, 0.0);
    let [reader] = replicas.readers.as_mut_slice() else { anyhow::bail!("not one reader") };
    let cpu_before = cpu_of(reader.pid())?;
    let drained = tokio::select! {
        drained = feed.until_drained() => drained?,
        error = watch_pace(reader, &mut receives, &mut deletes) => return Err(error),
    };
    let cpu = cpu_of(reader.pid())? - cpu_before;
    replicas.stop().await?;
    let keys = testbed.count("SELECT count(*) FROM veilpost.ledger").await? - keys_before;
    results.checks.equal("keys in the ledger from a distant queue", keys, count);
    Ok(Distant {
        rate: float(count) / drained.seconds,
        reader_cpu: cpu * 1e6 / float(count),
        receives,
        deletes,
    })
}

/// Never ends but by an error.
async fn watch_pace(reader: &mut ServiceProcess, receives: &mut f64, deletes: &mut f64) -> anyhow::Error {
    loop {
        match reader.metrics().await {
            Ok(metrics) => {
                *receives = receives.max(metrics.sum("veilpost_reader_pollers", &[]));
                *deletes = deletes.max(metrics.sum("veilpost_reader_deletes", &[]));
            }
            Err(error) => return error,
        }
        sleep(POLL_INTERVAL).await;
    }
}

fn record(results: &mut Results, name: &str, through: &Through) {
    let figures = &mut results.figures;
    let cpu = |seconds: f64| through.per_message(seconds);
    figures.add(&format!("{name}.rate"), "msg/s", through.rate());
    figures.add(&format!("{name}.cpu-reader"), "µs", cpu(through.cpu.reader));
    figures.add(&format!("{name}.cpu-masker"), "µs", cpu(through.cpu.masker));
    figures.add(&format!("{name}.cpu-writer"), "µs", cpu(through.cpu.writer));
    figures.add(&format!("{name}.cpu-postgres"), "µs", cpu(through.postgres_cpu));
    figures.add(&format!("{name}.cpu-queue"), "µs", cpu(through.queue_cpu));
    for (who, memory) in ["reader", "masker", "writer"].into_iter().zip(through.memory) {
        figures.add_peak(&format!("{name}.memory-{who}"), "MiB", memory);
    }
}

/// As many messages, and as long a backlog, as the sizes of the bodies allow.
async fn grown(
    testbed: &mut Testbed,
    results: &mut Results,
    bodies: &Bodies,
    plan: Plan,
) -> anyhow::Result<Through> {
    let plan = Plan { queue_url: testbed.new_queue().await?, ..plan };
    let usual = testbed.settings.backlog;
    let messages = testbed.settings.messages.min(whole(MOST_BYTES / bodies.mean_bytes()));
    testbed.settings.backlog = usual.min(whole(BACKLOG_BYTES / bodies.mean_bytes()));
    let through = through(testbed, results, bodies, messages, None, &plan).await;
    testbed.settings.backlog = usual;
    through
}

/// Makes a table with this many text columns, and the policy that fills it.
async fn columns_of(testbed: &mut Testbed, columns: u32) -> anyhow::Result<(String, PathBuf)> {
    let table = format!("bench_{columns}");
    let names: Vec<String> = (0..columns).map(|column| format!("c{column} text")).collect();
    let create = format!("CREATE TABLE {table} ({})", names.join(", "));
    sqlx::query(AssertSqlSafe(create)).execute(&mut testbed.database).await?;
    let file = testbed.new_directory()?.join("policy.toml");
    std::fs::write(&file, policy(&table, columns)?)?;
    Ok((table, file))
}

fn policy(table: &str, columns: u32) -> anyhow::Result<String> {
    let mut text = format!("table = \"{table}\"\n");
    for column in 0..columns {
        let transform = if column % DIGEST_EVERY == 1 { "sha512" } else { "copy" };
        write!(
            text,
            "\n[[column]]\nname = \"c{column}\"\nsource = \"/f{column}\"\ntransform = \"{transform}\"\n"
        )?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use veilpost_masker::{HmacKeys, Mask, Policy};

    #[test]
    fn a_policy_of_many_columns_fills_every_one_of_them() {
        for columns in COLUMNS {
            let policy = Policy::parse(&policy("t", columns).unwrap(), "test").unwrap();
            let mask = Mask::new(&policy, &HmacKeys::default()).unwrap();
            let batches = Bodies::with_fields(columns).raw_batches(1, 1);
            let masked = mask.apply(&batches[0].records[0], Timestamp::now()).map_err(|_| ()).unwrap();
            assert_eq!(masked.record.values.len(), usize::try_from(columns).unwrap());
            assert!(masked.record.values.iter().all(|value| value.kind.is_some()));
        }
    }
}
