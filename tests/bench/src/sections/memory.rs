//! Peak memory of the services while a long queue waits for them.

use std::time::Duration;

use tokio::time::sleep;

use crate::bodies::Bodies;
use crate::feed::Feed;
use crate::fleet::{Fleet, Plan};
use crate::queue::QueueProcess;
use crate::run::Sheet;
use crate::sections::pipeline::peak_mebibytes;
use crate::world::World;

/// Long enough for every buffer to have been full many times.
const DRAINING: Duration = Duration::from_secs(20);

/// A queue of its own: a long backlog would slow the others' down for good.
pub(crate) async fn measure(world: &mut World, sheet: &mut Sheet) -> anyhow::Result<()> {
    let queue = QueueProcess::start(&world.executables, world.directory(), "long-queue").await?;
    let url = queue.create("bench-long").await?;
    let bodies = Bodies::logins();
    let count = world.settings.memory_backlog;
    let feed = Feed {
        client: &queue.client,
        sender: &queue.sender,
        url: &url,
        bodies: &bodies,
        count,
        backlog: u64::MAX,
        rate: None,
    };
    feed.fill().await?;
    let before = world.rows().await?;
    let directory = world.new_directory()?;
    let plan = Plan { queue_url: url, ..Plan::default() };
    let database_url = world.postgres.url();
    let mut fleet = Fleet::start(&world.executables, &queue, &database_url, &directory, &plan).await?;
    let smoke = world.settings.smoke;
    sleep(if smoke { DRAINING / 10 } else { DRAINING }).await;
    fleet.ensure_running()?;
    let stored = world.rows().await? - before;
    sheet.checks.that(stored > 0, || "nothing was stored from the long queue".to_owned());
    for (name, services) in
        [("reader", &fleet.readers), ("masker", &fleet.maskers), ("writer", &fleet.writers)]
    {
        sheet.figures.add_peak(&format!("memory.{name}"), "MiB", peak_mebibytes(services));
    }
    fleet.stop().await
}
