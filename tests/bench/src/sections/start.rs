//! From start to ready, everything downstream up.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use veilpost_local::process::{Service, ServiceCommand};

use crate::fleet::{Plan, reader, serving};
use crate::run::Sheet;
use crate::world::World;

const STARTS: u32 = 5;
const PATIENCE: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(1);

pub(crate) async fn measure(world: &mut World, sheet: &mut Sheet) -> anyhow::Result<()> {
    let plan = Plan { queue_url: world.new_queue().await?, ..Plan::default() };
    for _ in 0..STARTS.min(world.settings.repetitions * STARTS) {
        let directory = world.new_directory()?;
        let writer = serving(&world.executables, "writer", 0).env("DATABASE_URL", world.postgres.url());
        let mut writer = timed(writer, &directory, sheet, "writer").await?;
        let downstream = format!("http://{}", writer.grpc_address().await?);
        let masker = serving(&world.executables, "masker", 0).arg("--downstream", downstream);
        let mut masker = timed(masker, &directory, sheet, "masker").await?;
        let downstream = format!("http://{}", masker.grpc_address().await?);
        let reader =
            reader(&world.executables, "reader", &world.queue, &plan).arg("--downstream", downstream);
        let mut reader = timed(reader, &directory, sheet, "reader").await?;
        for service in [&mut reader, &mut masker, &mut writer] {
            let status = service.stop(PATIENCE).await?;
            sheet.checks.that(status.success(), || format!("{} stopped with {status}", service.name()));
        }
    }
    Ok(())
}

/// Looks for readiness more often than [`Service::ready`] does.
async fn timed(
    command: ServiceCommand,
    directory: &Path,
    sheet: &mut Sheet,
    name: &str,
) -> anyhow::Result<Service> {
    let started = Instant::now();
    let mut service = command.start(directory)?;
    while !std::fs::read_to_string(service.log_file())?.contains(r#""message":"ready""#) {
        service.ensure_running()?;
        anyhow::ensure!(started.elapsed() < PATIENCE, "{name} did not become ready");
        sleep(POLL_INTERVAL).await;
    }
    sheet.figures.add(&format!("start.{name}"), "ms", started.elapsed().as_secs_f64() * 1e3);
    service.ready().await?;
    Ok(service)
}
