//! What goes wrong when: the same seed gives the same schedule.

use std::fmt;
use std::time::Duration;

use crate::fault::{self, Fault, NetworkFault, PostgresFault, ProcessFault};
use crate::seeded_rng::SeededRng;

/// Lanes that run side by side; each goes through all faults of its own in an order of its own. Processes
/// have two, so that services go down together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    pub(crate) seed: u64,
    /// Whether the services speak TLS: they do when the seed is even.
    pub(crate) encrypted: bool,
    pub(crate) sqs: Vec<Step>,
    pub(crate) network: Vec<Step>,
    pub(crate) processes: [Vec<Step>; 2],
    pub(crate) postgres: Vec<Step>,
}

/// One fault of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) fault: Fault,
    /// The calm before it.
    pub(crate) pause: Duration,
    /// How long it lasts, where it lasts.
    pub(crate) length: Duration,
    /// Chooses among what it could be done to.
    pub(crate) choice: u64,
}

impl Schedule {
    pub(crate) fn new(seed: u64) -> Self {
        let lane = |number, faults, pauses| lane(&mut SeededRng::new(seed, number), faults, pauses);
        Self {
            seed,
            encrypted: seed.is_multiple_of(2),
            sqs: lane(1, fault::of_sqs(), (100, 900)),
            network: lane(2, fault::of_networks(), (200, 1200)),
            processes: [3, 5].map(|number| lane(number, fault::of_processes(), (200, 3000))),
            postgres: lane(4, fault::of_postgres(), (1000, 2500)),
        }
    }
}

fn lane(rng: &mut SeededRng, mut faults: Vec<Fault>, (shortest, longest): (u64, u64)) -> Vec<Step> {
    rng.shuffle(&mut faults);
    let step = |fault| {
        let (least, most) = lengths(fault);
        Step {
            fault,
            pause: Duration::from_millis(rng.between(shortest, longest)),
            length: Duration::from_millis(rng.between(least, most)),
            choice: rng.between(0, 11),
        }
    };
    faults.into_iter().map(step).collect()
}

/// The shortest and the longest time that a fault lasts, in milliseconds.
fn lengths(fault: Fault) -> (u64, u64) {
    match fault {
        Fault::Sqs(..) => (500, 5000),
        Fault::Network(_, NetworkFault::Slow) => (20, 300),
        Fault::Network(..) => (300, 2500),
        // Longer than keepalives and visibility timeouts, or shorter.
        Fault::Process(_, ProcessFault::Hang) => (500, 9000),
        Fault::Process(..) => (50, 1500),
        Fault::Postgres(PostgresFault::Restart | PostgresFault::ImmediateShutdown) => (200, 3000),
        Fault::Postgres(_) | Fault::Failover(_) | Fault::Constant(_) => (2500, 4500),
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = if self.encrypted { "mutual TLS" } else { "plain text" };
        writeln!(formatter, "seed {}, {transport} between the services", self.seed)?;
        let [first, second] = &self.processes;
        let lanes = [
            ("SQS", &self.sqs),
            ("network", &self.network),
            ("processes", first),
            ("processes, too", second),
            ("Postgres", &self.postgres),
        ];
        for (name, steps) in lanes {
            writeln!(formatter, "  {name}: pause, fault, length, choice (milliseconds)")?;
            for step in steps {
                writeln!(formatter, "    {step}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, pause, length, choice } = self;
        let (fault, pause, length) = (fault.to_string(), pause.as_millis(), length.as_millis());
        write!(formatter, "{pause:>5}  {fault:<56} {length:>5} {choice:>3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_schedule_and_another_seed_another() {
        assert_eq!(Schedule::new(5), Schedule::new(5));
        assert_ne!(Schedule::new(5).network, Schedule::new(6).network);
    }

    #[test]
    fn every_schedule_has_every_fault() {
        let schedule = Schedule::new(9);
        let [first, second] = schedule.processes;
        assert_ne!(first, second);
        for (steps, faults) in [
            (schedule.sqs, fault::of_sqs()),
            (schedule.network, fault::of_networks()),
            (first, fault::of_processes()),
            (second, fault::of_processes()),
            (schedule.postgres, fault::of_postgres()),
        ] {
            assert_eq!(steps.len(), faults.len());
            assert!(faults.iter().all(|fault| steps.iter().any(|step| step.fault == *fault)));
        }
    }

    #[test]
    fn a_schedule_is_pinned_so_that_a_seed_means_the_same_tomorrow() {
        let [processes, _] = Schedule::new(1).processes;
        let first: Vec<_> = processes.iter().take(3).map(Step::to_string).collect();
        let pinned = [
            "  597  reader: SIGKILL                                            659   2",
            " 1350  masker: SIGKILL to both replicas                           473   8",
            "  201  reader: SIGTERM                                           1310   4",
        ];
        assert_eq!(first, pinned);
    }
}
