//! Services that are killed, hung and terminated.

use std::time::Instant;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::sleep;

use super::{POLL_INTERVAL, TARGET_PATIENCE};
use crate::fault::{Fault, ProcessFault};
use crate::pipeline::ProxiedPipeline;
use crate::replica::Replica;
use crate::schedule::Step;
use crate::tally::Tally;

pub(super) async fn run(steps: &[Step], pipeline: &ProxiedPipeline, tally: &Tally) -> anyhow::Result<()> {
    for step in steps {
        sleep(step.pause).await;
        let Fault::Process(role, fault) = step.fault else { continue };
        // Held until it is up again: the other lane must not meet one that is down.
        let mut replicas = Vec::new();
        for replica in chosen(pipeline.replicas(role), fault, step.choice) {
            replicas.push(replica.lock().await);
        }
        let load = load(&mut replicas).await;
        let begun = Instant::now();
        for replica in &mut replicas {
            match fault {
                ProcessFault::Kill | ProcessFault::KillAll => replica.kill().await?,
                ProcessFault::Hang => replica.hang()?,
                ProcessFault::Terminate => replica.terminate().await?,
            }
        }
        sleep(step.length).await;
        for replica in &mut replicas {
            match fault {
                ProcessFault::Hang => replica.resume(),
                ProcessFault::Kill | ProcessFault::KillAll | ProcessFault::Terminate => {
                    replica.start_again().await?;
                }
            }
        }
        tally.note(step.fault, begun, Some(load));
    }
    Ok(())
}

fn chosen(replicas: &[Mutex<Replica>], fault: ProcessFault, choice: u64) -> Vec<&Mutex<Replica>> {
    let number = usize::try_from(choice).unwrap_or_default() % replicas.len().max(1);
    match fault {
        ProcessFault::KillAll => replicas.iter().collect(),
        ProcessFault::Kill | ProcessFault::Hang | ProcessFault::Terminate => {
            replicas.get(number).into_iter().collect()
        }
    }
}

/// How many of the replicas are at work; waits until one is.
async fn load(replicas: &mut [MutexGuard<'_, Replica>]) -> u64 {
    let until = Instant::now() + TARGET_PATIENCE;
    loop {
        let mut load = 0;
        for replica in replicas.iter_mut() {
            load += replica.load().await;
        }
        if load > 0 || Instant::now() > until {
            return load;
        }
        sleep(POLL_INTERVAL).await;
    }
}
