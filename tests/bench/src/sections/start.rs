//! From start to ready, everything downstream up.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use veilpost_local::process::{ServiceCommand, ServiceProcess};

use crate::figures::Results;
use crate::replicas::{Plan, reader, serving};
use crate::testbed::Testbed;

const STARTS: u32 = 5;
const PATIENCE: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(1);

pub(crate) async fn measure(testbed: &mut Testbed, results: &mut Results) -> anyhow::Result<()> {
    let plan = Plan { queue_url: testbed.new_queue().await?, ..Plan::default() };
    for _ in 0..STARTS.min(testbed.settings.repetitions * STARTS) {
        let directory = testbed.new_directory()?;
        let writer = serving(&testbed.executables, "writer", 0).env("DATABASE_URL", testbed.postgres.url());
        let mut writer = timed(writer, &directory, results, "writer").await?;
        let downstream = format!("http://{}", writer.grpc_address().await?);
        let masker = serving(&testbed.executables, "masker", 0).arg("--downstream", downstream);
        let mut masker = timed(masker, &directory, results, "masker").await?;
        let downstream = format!("http://{}", masker.grpc_address().await?);
        let reader =
            reader(&testbed.executables, "reader", &testbed.queue, &plan).arg("--downstream", downstream);
        let mut reader = timed(reader, &directory, results, "reader").await?;
        for service in [&mut reader, &mut masker, &mut writer] {
            let status = service.stop(PATIENCE).await?;
            results.checks.that(status.success(), || format!("{} stopped with {status}", service.name()));
        }
    }
    Ok(())
}

/// Looks for readiness more often than [`ServiceProcess::ready`] does.
async fn timed(
    command: ServiceCommand,
    directory: &Path,
    results: &mut Results,
    name: &str,
) -> anyhow::Result<ServiceProcess> {
    let started = Instant::now();
    let mut service = command.start(directory)?;
    while !std::fs::read_to_string(service.log_file())?.contains(r#""message":"ready""#) {
        service.ensure_running()?;
        anyhow::ensure!(started.elapsed() < PATIENCE, "{name} did not become ready");
        sleep(POLL_INTERVAL).await;
    }
    results.figures.add(&format!("start.{name}"), "ms", started.elapsed().as_secs_f64() * 1e3);
    service.ready().await?;
    Ok(service)
}
