//! Connections between the services, and to Postgres, that inject.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use veilpost_testkit::{Cut, FaultProxy};

use super::{POLL_INTERVAL, TARGET_PATIENCE};
use crate::fault::{Fault, NetworkFault};
use crate::pipeline::ProxiedPipeline;
use crate::schedule::Step;
use crate::tally::Tally;

/// How long a hop is slow.
const SLOWNESS: Duration = Duration::from_secs(2);

pub(super) async fn run(steps: &[Step], pipeline: &ProxiedPipeline, tally: &Tally) -> anyhow::Result<()> {
    for step in steps {
        sleep(step.pause).await;
        let Fault::Network(hop, fault) = step.fault else { continue };
        let proxies = chosen(pipeline.proxies(hop), step.choice);
        let (begun, before) = (Instant::now(), hits(&proxies));
        match fault {
            NetworkFault::Slow => lasting(&proxies, SLOWNESS, |proxy| proxy.slow_down(step.length)).await,
            NetworkFault::Silent => lasting(&proxies, step.length, FaultProxy::fall_silent).await,
            NetworkFault::AnswersLost => lasting(&proxies, step.length, FaultProxy::lose_answers).await,
            NetworkFault::Reset => cut(&proxies, Cut::Reset).await,
            NetworkFault::HalfOpen if step.choice % 2 == 0 => cut(&proxies, Cut::UpstreamOnly).await,
            NetworkFault::HalfOpen => cut(&proxies, Cut::DownstreamOnly).await,
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

/// Keeps the condition for `length`, and on until it has hit something.
async fn lasting(proxies: &[&FaultProxy], length: Duration, start: impl Fn(&FaultProxy)) {
    let (begun, before) = (Instant::now(), hits(proxies));
    for proxy in proxies {
        start(proxy);
    }
    sleep(length).await;
    while hits(proxies) == before && begun.elapsed() < TARGET_PATIENCE {
        sleep(POLL_INTERVAL).await;
    }
}

/// Cuts as soon as there is something to cut.
async fn cut(proxies: &[&FaultProxy], how: Cut) {
    let (begun, before) = (Instant::now(), hits(proxies));
    while hits(proxies) == before && begun.elapsed() < TARGET_PATIENCE {
        for proxy in proxies {
            proxy.cut(how);
        }
        sleep(POLL_INTERVAL).await;
    }
}
