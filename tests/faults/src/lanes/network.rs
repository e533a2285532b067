//! Connections between the services, and to Postgres, that inject.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{LOOK_AGAIN, PREY};
use crate::fault::{Fault, Trouble};
use crate::schedule::Step;
use crate::tally::Tally;
use crate::world::World;
use veilpost_testkit::{Cut, FaultProxy};

/// How long a hop is slow.
const SLOWNESS: Duration = Duration::from_secs(2);

pub(super) async fn run(steps: &[Step], world: &World, tally: &Tally) -> anyhow::Result<()> {
    for step in steps {
        sleep(step.pause).await;
        let Fault::Network(hop, trouble) = step.fault else { continue };
        let proxies = chosen(world.proxies(hop), step.choice);
        let (begun, before) = (Instant::now(), hits(&proxies));
        match trouble {
            Trouble::Slow => lasting(&proxies, SLOWNESS, |proxy| proxy.slow_down(step.length)).await,
            Trouble::Silent => lasting(&proxies, step.length, FaultProxy::fall_silent).await,
            Trouble::AnswersLost => lasting(&proxies, step.length, FaultProxy::lose_answers).await,
            Trouble::Reset => cut(&proxies, Cut::Reset).await,
            Trouble::HalfOpen if step.choice % 2 == 0 => cut(&proxies, Cut::UpstreamOnly).await,
            Trouble::HalfOpen => cut(&proxies, Cut::DownstreamOnly).await,
        }
        for proxy in &proxies {
            proxy.clear();
        }
        tally.note(step.fault, begun, Some(hits(&proxies) - before));
    }
    Ok(())
}

/// One of the hop's proxies, or all of them.
fn chosen(proxies: &[FaultProxy], choice: u64) -> Vec<&FaultProxy> {
    let number = usize::try_from(choice).unwrap_or_default() % (proxies.len() + 1);
    proxies.get(number).map_or_else(|| proxies.iter().collect(), |proxy| vec![proxy])
}

fn hits(proxies: &[&FaultProxy]) -> u64 {
    proxies.iter().map(|proxy| proxy.hits()).sum()
}

/// For so long, and on until something has been hit.
async fn lasting(proxies: &[&FaultProxy], length: Duration, start: impl Fn(&FaultProxy)) {
    let (begun, before) = (Instant::now(), hits(proxies));
    for proxy in proxies {
        start(proxy);
    }
    sleep(length).await;
    while hits(proxies) == before && begun.elapsed() < PREY {
        sleep(LOOK_AGAIN).await;
    }
}

/// Cuts as soon as there is something to cut.
async fn cut(proxies: &[&FaultProxy], how: Cut) {
    let (begun, before) = (Instant::now(), hits(proxies));
    while hits(proxies) == before && begun.elapsed() < PREY {
        for proxy in proxies {
            proxy.cut(how);
        }
        sleep(LOOK_AGAIN).await;
    }
}
