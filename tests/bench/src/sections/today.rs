//! The naive loop: one message at a time, one connection per row, delete before commit.

use veilpost_local::numbers::float;

use crate::bodies::Bodies;
use crate::feed::Feed;
use crate::figures::Results;
use crate::testbed::Testbed;
use crate::worker::{Work, Worker};

pub(crate) async fn measure(testbed: &mut Testbed, results: &mut Results) -> anyhow::Result<()> {
    let bodies = Bodies::logins();
    let count = testbed.settings.today_messages;
    testbed.empty_table().await?;
    for repetition in 1..=u64::from(testbed.settings.repetitions) {
        let url = testbed.new_queue().await?;
        Feed::new(&testbed.queue, &url, &bodies, count).fill().await?;
        let work = Work::Today { endpoint: testbed.queue.endpoint.clone(), url, count };
        let effort = Worker::start(&work, &testbed.postgres.url()).await?.effort().await?;
        results.figures.add("today.rate", "msg/s", float(count) / effort.seconds);
        results.figures.add("today.cpu", "µs", effort.cpu_seconds * 1e6 / float(count));
        results.checks.equal("rows stored one at a time", testbed.rows().await?, repetition * count);
    }
    let rates = results.figures.value("end-to-end.rate").zip(results.figures.value("today.rate"));
    if let Some((rate, today)) = rates {
        results.figures.add("today.ratio", "ratio", rate / today);
    }
    Ok(())
}
