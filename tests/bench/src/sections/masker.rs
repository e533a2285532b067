//! The masker as a service, compared with a bare masking loop over the same bodies in memory.

use std::time::Instant;

use jiff::Timestamp;
use veilpost_local::numbers::float;
use veilpost_masker::{HmacKeys, Mask, Policy};
use veilpost_proto::v1::RawBatch;
use veilpost_proto::v1::masker_client::MaskerClient;

use super::peers::{Sink, exchange};
use crate::bodies::Bodies;
use crate::cpu::thread_cpu;
use crate::figures::Results;
use crate::replicas::Plan;
use crate::testbed::Testbed;

pub(crate) async fn measure(testbed: &mut Testbed, results: &mut Results) -> anyhow::Result<()> {
    let batches = Bodies::logins().raw_batches(testbed.settings.records, testbed.settings.batch);
    let records = testbed.settings.records;
    for _ in 0..testbed.settings.repetitions {
        let service = service(testbed, results, &batches).await?;
        let masking = batches.clone();
        let bare = std::thread::spawn(move || bare(&masking)).join();
        let bare = bare.map_err(|_| anyhow::anyhow!("the bare masking loop panicked"))??;
        results.figures.add("masker.per-core", "records/s", float(records) / service.cpu_seconds);
        results.figures.add("masker.cpu", "µs", service.cpu_seconds * 1e6 / float(records));
        results.figures.add("masker.rate", "records/s", float(records) / service.seconds);
        results.figures.add("masker.bare-per-core", "records/s", float(records) / bare);
        results.figures.add("masker.bare-cpu", "µs", bare * 1e6 / float(records));
        results.figures.add("masker.ratio", "ratio", bare / service.cpu_seconds);
    }
    Ok(())
}

struct Took {
    seconds: f64,
    cpu_seconds: f64,
}

/// One masker process between a reader and a writer that are played here.
async fn service(testbed: &mut Testbed, results: &mut Results, batches: &[RawBatch]) -> anyhow::Result<Took> {
    let sink = Sink::start().await?;
    let downstream = format!("http://{}", sink.address);
    let plan = Plan { readers: 0, writers: 0, masker_downstream: downstream, ..Plan::default() };
    let mut replicas = testbed.start_replicas(&plan).await?;
    let masker = replicas.maskers.first_mut().ok_or_else(|| anyhow::anyhow!("no masker"))?;
    let mut client = MaskerClient::connect(format!("http://{}", masker.grpc_address().await?)).await?;
    let batches = batches.to_vec();
    let before = replicas.cpu()?.masker;
    let started = Instant::now();
    let stored = exchange(batches, async |stream| Ok(client.mask(stream).await?.into_inner())).await?;
    let seconds = started.elapsed().as_secs_f64();
    let cpu_seconds = (replicas.cpu()?.masker - before).max(1e-2);
    results.checks.equal("records through the masker", stored, testbed.settings.records);
    drop(client);
    replicas.stop().await?;
    Ok(Took { seconds, cpu_seconds })
}

/// CPU seconds of this thread.
fn bare(batches: &[RawBatch]) -> anyhow::Result<f64> {
    let mask = Mask::new(&Policy::load(None)?, &HmacKeys::default())?;
    let now = Timestamp::now();
    let before = thread_cpu()?;
    for record in batches.iter().flat_map(|batch| &batch.records) {
        let masked = mask.apply(record, now);
        anyhow::ensure!(masked.is_ok(), "a record was rejected");
        std::hint::black_box(&masked).as_ref().ok();
    }
    Ok(thread_cpu()? - before)
}
