//! How cost grows with replicas, body sizes and columns.

use std::fmt::Write;
use std::path::PathBuf;

use sqlx::AssertSqlSafe;
use veilpost::numbers::whole;
use veilpost::output::say;

use super::pipeline::{Through, through};
use crate::bodies::Bodies;
use crate::fleet::Plan;
use crate::run::Sheet;
use crate::world::World;

pub(crate) const REPLICAS: [u32; 3] = [1, 2, 3];
pub(crate) const BODY_BYTES: [u32; 6] = [200, 1_024, 4_096, 16_384, 65_536, 262_144];
pub(crate) const COLUMNS: [u32; 4] = [3, 7, 20, 50];

/// Of a policy's columns every so many is a digest, as in the default policy.
const DIGEST_EVERY: u32 = 4;

/// Bytes of bodies that one repetition moves, at most.
const MOST_BYTES: f64 = 256e6;

/// Bytes of bodies that wait in the queue, at most.
const BACKLOG_BYTES: f64 = 32e6;

pub(crate) async fn measure(world: &mut World, sheet: &mut Sheet) -> anyhow::Result<()> {
    let logins = Bodies::logins();
    for count in REPLICAS {
        say(&format!("  {count} of each service"));
        let plan = Plan { readers: count, maskers: count, writers: count, ..Plan::default() };
        let through = grown(world, sheet, &logins, plan).await?;
        record(sheet, &format!("growth.replicas.{count}"), &through);
    }
    for bytes in BODY_BYTES {
        say(&format!("  bodies of {bytes} bytes"));
        let bodies = Bodies::logins_of(usize::try_from(bytes)?);
        let through = grown(world, sheet, &bodies, Plan::default()).await?;
        let name = format!("growth.body.{bytes}");
        record(sheet, &name, &through);
        sheet.figures.add(&format!("{name}.bytes"), "MB/s", through.rate() * bodies.mean_bytes() / 1e6);
    }
    for columns in COLUMNS {
        say(&format!("  {columns} columns"));
        let (table, policy) = columns_of(world, columns).await?;
        let bodies = Bodies::with_fields(columns);
        let plan = Plan { table, policy: Some(policy), ..Plan::default() };
        let through = grown(world, sheet, &bodies, plan).await?;
        record(sheet, &format!("growth.columns.{columns}"), &through);
    }
    Ok(())
}

fn record(sheet: &mut Sheet, name: &str, through: &Through) {
    let figures = &mut sheet.figures;
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
async fn grown(world: &mut World, sheet: &mut Sheet, bodies: &Bodies, plan: Plan) -> anyhow::Result<Through> {
    let plan = Plan { queue_url: world.new_queue().await?, ..plan };
    let usual = world.settings.backlog;
    let messages = world.settings.messages.min(whole(MOST_BYTES / bodies.mean_bytes()));
    world.settings.backlog = usual.min(whole(BACKLOG_BYTES / bodies.mean_bytes()));
    let through = through(world, sheet, bodies, messages, None, &plan).await;
    world.settings.backlog = usual;
    through
}

/// A table with so many text columns, and the policy that fills it.
async fn columns_of(world: &mut World, columns: u32) -> anyhow::Result<(String, PathBuf)> {
    let table = format!("bench_{columns}");
    let names: Vec<String> = (0..columns).map(|column| format!("c{column} text")).collect();
    let create = format!("CREATE TABLE {table} ({})", names.join(", "));
    sqlx::query(AssertSqlSafe(create)).execute(&mut world.database).await?;
    let file = world.new_directory()?.join("policy.toml");
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
