//! Connections between the services, and to Postgres, that suffer.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{LOOK_AGAIN, PREY};
use crate::faults::fault::{Fault, Trouble};
use crate::faults::schedule::Step;
use crate::faults::tally::Tally;
use crate::faults::world::World;
use crate::{Cut, Gate};

/// How long a hop is slow.
const SLOWNESS: Duration = Duration::from_secs(2);

pub(super) async fn run(steps: &[Step], world: &World, tally: &Tally) -> anyhow::Result<()> {
    for step in steps {
        sleep(step.pause).await;
        let Fault::Network(hop, trouble) = step.fault else { continue };
        let gates = chosen(world.gates(hop), step.choice);
        let (begun, before) = (Instant::now(), hits(&gates));
        match trouble {
            Trouble::Slow => lasting(&gates, SLOWNESS, |gate| gate.slow_down(step.length)).await,
            Trouble::Silent => lasting(&gates, step.length, Gate::fall_silent).await,
            Trouble::AnswersLost => lasting(&gates, step.length, Gate::lose_answers).await,
            Trouble::Reset => cut(&gates, Cut::Reset).await,
            Trouble::HalfOpen if step.choice % 2 == 0 => cut(&gates, Cut::UpstreamOnly).await,
            Trouble::HalfOpen => cut(&gates, Cut::DownstreamOnly).await,
        }
        for gate in &gates {
            gate.clear();
        }
        tally.note(step.fault, begun, Some(hits(&gates) - before));
    }
    Ok(())
}

/// One of the hop's proxies, or all of them.
fn chosen(gates: &[Gate], choice: u64) -> Vec<&Gate> {
    let number = usize::try_from(choice).unwrap_or_default() % (gates.len() + 1);
    gates.get(number).map_or_else(|| gates.iter().collect(), |gate| vec![gate])
}

fn hits(gates: &[&Gate]) -> u64 {
    gates.iter().map(|gate| gate.hits()).sum()
}

/// For so long, and on until something has been hit.
async fn lasting(gates: &[&Gate], length: Duration, start: impl Fn(&Gate)) {
    let (begun, before) = (Instant::now(), hits(gates));
    for gate in gates {
        start(gate);
    }
    sleep(length).await;
    while hits(gates) == before && begun.elapsed() < PREY {
        sleep(LOOK_AGAIN).await;
    }
}

/// Cuts as soon as there is something to cut.
async fn cut(gates: &[&Gate], how: Cut) {
    let (begun, before) = (Instant::now(), hits(gates));
    while hits(gates) == before && begun.elapsed() < PREY {
        for gate in gates {
            gate.cut(how);
        }
        sleep(LOOK_AGAIN).await;
    }
}
