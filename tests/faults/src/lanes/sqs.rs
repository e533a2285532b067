//! Calls to SQS that go wrong.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use veilpost_testkit::{ArmedFault, SqsFault};

use super::POLL_INTERVAL;
use crate::fault::{Fault, SqsCall};
use crate::pipeline::ProxiedPipeline;
use crate::schedule::Step;
use crate::tally::Tally;

/// How long the lane waits for a fault to meet its calls before it goes on; the fault stays armed.
const MEETING: Duration = Duration::from_millis(1500);

/// How long faults that have met no call yet stay armed when the lane is over.
const LAST_CHANCE: Duration = Duration::from_secs(30);

pub(super) async fn run(steps: &[Step], pipeline: &ProxiedPipeline, tally: &Tally) -> anyhow::Result<()> {
    let mut armed = Vec::new();
    for step in steps {
        sleep(step.pause).await;
        let Fault::Sqs(call, fault) = step.fault else { continue };
        let begun = Instant::now();
        let fault =
            pipeline.sqs_proxy.arm(call.action(), lasting(fault, step.length), calls(call, step.choice));
        if call == SqsCall::Every {
            sleep(step.length).await;
            // A reader that has stopped receiving after the fault before makes no call for some seconds.
            patiently(LAST_CHANCE, || fault.hits() > 0).await;
            fault.disarm();
        }
        patiently(MEETING, || fault.is_spent()).await;
        armed.push((step.fault, begun, fault));
    }
    patiently(LAST_CHANCE, || armed.iter().all(|(_, _, armed): &(_, _, ArmedFault)| armed.hits() > 0)).await;
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

async fn patiently(patience: Duration, enough: impl Fn() -> bool) {
    let until = Instant::now() + patience;
    while Instant::now() < until && !enough() {
        sleep(POLL_INTERVAL).await;
    }
}
