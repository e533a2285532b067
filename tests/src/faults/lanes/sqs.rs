//! Calls to SQS that go wrong.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::LOOK_AGAIN;
use crate::faults::fault::{Fault, SqsCall};
use crate::faults::schedule::Step;
use crate::faults::tally::Tally;
use crate::faults::world::World;
use crate::{Armed, SqsFault};

/// How long the lane waits for a fault to meet its calls before it goes on; the fault stays armed.
const MEETING: Duration = Duration::from_millis(1500);

/// How long faults of rare calls stay armed when the lane is over.
const LAST_CHANCE: Duration = Duration::from_secs(12);

pub(super) async fn run(steps: &[Step], world: &World, tally: &Tally) -> anyhow::Result<()> {
    let mut armed = Vec::new();
    for step in steps {
        sleep(step.pause).await;
        let Fault::Sqs(call, fault) = step.fault else { continue };
        let begun = Instant::now();
        let fault = world.sqs_gate.arm(call.action(), lasting(fault, step.length), calls(call, step.choice));
        if call == SqsCall::Every {
            sleep(step.length).await;
            fault.disarm();
        }
        spent(std::slice::from_ref(&fault), MEETING).await;
        armed.push((step.fault, begun, fault));
    }
    let all: Vec<_> = armed.iter().map(|(_, _, fault)| fault.clone()).collect();
    spent(&all, LAST_CHANCE).await;
    for (fault, begun, armed) in armed {
        armed.disarm();
        tally.note(fault, begun, Some(armed.hits()));
    }
    Ok(())
}

/// Many calls of one kind are on their way at once; a fault that meets only one is hardly felt.
fn calls(call: SqsCall, choice: u64) -> u64 {
    match call {
        SqsCall::Receive | SqsCall::Delete => 2 + choice,
        SqsCall::Extend | SqsCall::Send => 1 + choice % 3,
        SqsCall::Every => u64::MAX,
    }
}

fn lasting(fault: SqsFault, length: Duration) -> SqsFault {
    match fault {
        SqsFault::Delay(_) => SqsFault::Delay(length),
        SqsFault::Hang(_) => SqsFault::Hang(length),
        other => other,
    }
}

async fn spent(armed: &[Armed], patience: Duration) {
    let until = Instant::now() + patience;
    while Instant::now() < until && !armed.iter().all(Armed::is_spent) {
        sleep(LOOK_AGAIN).await;
    }
}
