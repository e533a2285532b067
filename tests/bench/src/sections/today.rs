//! What people do today: one message at a time, one connection a row, delete before commit.

use veilpost_local::numbers::float;

use crate::bodies::Bodies;
use crate::feed::Feed;
use crate::run::Sheet;
use crate::worker::{Work, Worker};
use crate::world::World;

pub(crate) async fn measure(world: &mut World, sheet: &mut Sheet) -> anyhow::Result<()> {
    let bodies = Bodies::logins();
    let count = world.settings.today_messages;
    world.empty_table().await?;
    for repetition in 1..=u64::from(world.settings.repetitions) {
        let url = world.new_queue().await?;
        let feed = Feed {
            client: &world.queue.client,
            sender: &world.queue.sender,
            url: &url,
            bodies: &bodies,
            count,
            backlog: u64::MAX,
            rate: None,
        };
        feed.fill().await?;
        let work = Work::Today { endpoint: world.queue.endpoint.clone(), url, count };
        let effort = Worker::start(&work, &world.postgres.url()).await?.effort().await?;
        sheet.figures.add("today.rate", "msg/s", float(count) / effort.seconds);
        sheet.figures.add("today.cpu", "µs", effort.cpu_seconds * 1e6 / float(count));
        sheet.checks.equal("rows stored one at a time", world.rows().await?, repetition * count);
    }
    let rates = sheet.figures.value("end-to-end.rate").zip(sheet.figures.value("today.rate"));
    if let Some((rate, today)) = rates {
        sheet.figures.add("today.ratio", "ratio", rate / today);
    }
    Ok(())
}
