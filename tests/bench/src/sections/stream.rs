//! A bare gRPC stream of the same bodies, and nothing done with them.

use std::time::Instant;

use prost::Message;
use veilpost_local::numbers::float;
use veilpost_proto::v1::masker_client::MaskerClient;

use super::peers::{Sink, exchange};
use crate::bodies::Bodies;
use crate::cpu::own_cpu;
use crate::figures::Results;
use crate::testbed::Testbed;

pub(crate) async fn measure(testbed: &mut Testbed, results: &mut Results) -> anyhow::Result<()> {
    let batches = Bodies::logins().raw_batches(testbed.settings.records, testbed.settings.batch);
    let bytes: usize = batches.iter().map(Message::encoded_len).sum();
    let (records, bytes) = (testbed.settings.records, float(u64::try_from(bytes)?));
    let sink = Sink::start().await?;
    for _ in 0..testbed.settings.repetitions {
        let mut client = MaskerClient::connect(format!("http://{}", sink.address)).await?;
        let batches = batches.clone();
        let (before, started) = (own_cpu()?, Instant::now());
        let stored = exchange(batches, async |stream| Ok(client.mask(stream).await?.into_inner())).await?;
        let seconds = started.elapsed().as_secs_f64();
        let cpu = own_cpu()? - before;
        results.checks.equal("records through the bare stream", stored, records);
        results.figures.add("stream.rate", "records/s", float(records) / seconds);
        results.figures.add("stream.bytes", "MB/s", bytes / seconds / 1e6);
        results.figures.add("stream.cpu", "µs", cpu * 1e6 / float(records));
    }
    Ok(())
}
