//! Peak memory of the services while a long queue waits for them.

use std::time::Duration;

use tokio::time::sleep;

use crate::bodies::Bodies;
use crate::feed::Feed;
use crate::figures::Results;
use crate::queue::QueueProcess;
use crate::replicas::{Plan, Replicas};
use crate::sections::pipeline::peak_mebibytes;
use crate::testbed::Testbed;

/// Long enough for every buffer to have been full many times.
const DRAINING: Duration = Duration::from_secs(20);

/// A queue of its own: a long backlog would slow the others' down for good.
pub(crate) async fn measure(testbed: &mut Testbed, results: &mut Results) -> anyhow::Result<()> {
    let queue = QueueProcess::start(&testbed.executables, testbed.directory(), "long-queue").await?;
    let url = queue.create("bench-long").await?;
    let bodies = Bodies::logins();
    let count = testbed.settings.memory_backlog;
    Feed::new(&queue, &url, &bodies, count).fill().await?;
    let before = testbed.rows().await?;
    let directory = testbed.new_directory()?;
    let plan = Plan { queue_url: url, ..Plan::default() };
    let database_url = testbed.postgres.url();
    let mut replicas =
        Replicas::start(&testbed.executables, &queue, &database_url, &directory, &plan).await?;
    let smoke = testbed.settings.smoke;
    sleep(if smoke { DRAINING / 10 } else { DRAINING }).await;
    replicas.ensure_running()?;
    let stored = testbed.rows().await? - before;
    results.checks.that(stored > 0, || "nothing was stored from the long queue".to_owned());
    for (name, services) in
        [("reader", &replicas.readers), ("masker", &replicas.maskers), ("writer", &replicas.writers)]
    {
        results.figures.add_peak(&format!("memory.{name}"), "MiB", peak_mebibytes(services));
    }
    replicas.stop().await
}
