//! What came of all rounds: checks, and the figures of each fault.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::oracle::MessageVerdict;
use crate::round::{Check, FaultRound};

/// Sums over rounds. As JSON it is the record of one.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) rounds: u64,
    pub(crate) messages: u64,
    pub(crate) verdicts: BadVerdicts,
    /// By the fault's name.
    faults: BTreeMap<String, FaultFigures>,
    /// The checks that failed, and why.
    failures: Vec<String>,
    peak_memory: Vec<u64>,
    /// Reports besides the table of faults.
    reports: Vec<String>,
}

/// Of one kind of fault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FaultFigures {
    pub(crate) injected: u64,
    pub(crate) skipped: u64,
    pub(crate) hits: u64,
    /// Messages sent while it lasted.
    pub(crate) messages: u64,
    pub(crate) verdicts: BadVerdicts,
}

/// How many messages did not become what they must become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BadVerdicts {
    pub(crate) lost: u64,
    pub(crate) twice: u64,
    /// Stored and dead-lettered.
    pub(crate) both: u64,
    /// Another outcome, reason, body or value than theirs.
    pub(crate) changed: u64,
}

impl BadVerdicts {
    fn note(&mut self, verdict: MessageVerdict) {
        match verdict {
            MessageVerdict::Right => {}
            MessageVerdict::Lost => self.lost += 1,
            MessageVerdict::Twice => self.twice += 1,
            MessageVerdict::RowAndDeadLetter => self.both += 1,
            MessageVerdict::WrongOutcome
            | MessageVerdict::WrongReason
            | MessageVerdict::WrongBody
            | MessageVerdict::WrongDigest => self.changed += 1,
        }
    }

    fn merge(&mut self, other: Self) {
        self.lost += other.lost;
        self.twice += other.twice;
        self.both += other.both;
        self.changed += other.changed;
    }
}

impl FaultFigures {
    fn merge(&mut self, other: &Self) {
        self.injected += other.injected;
        self.skipped += other.skipped;
        self.hits += other.hits;
        self.messages += other.messages;
        self.verdicts.merge(other.verdicts);
    }
}

impl Summary {
    /// Of one round.
    pub(crate) fn of(round: &FaultRound) -> Self {
        let mut summary = Self {
            rounds: 1,
            messages: count(round.sent.len()),
            peak_memory: round.peak_memory.clone(),
            ..Self::default()
        };
        summary.check(&round.name, &round.checks);
        for verdict in round.account.verdicts.values() {
            summary.verdicts.note(*verdict);
        }
        for injection in &round.injections {
            let figures = summary.faults.entry(injection.fault.to_string()).or_default();
            match injection.hits {
                None => figures.skipped += 1,
                Some(hits) => {
                    figures.injected += 1;
                    figures.hits += hits;
                }
            }
            let lasted = injection.begun..=injection.ended;
            for (id, _) in round.sent.iter().filter(|(_, message)| lasted.contains(&message.at)) {
                figures.messages += 1;
                if let Some(verdict) = round.account.verdicts.get(id) {
                    figures.verdicts.note(*verdict);
                }
            }
        }
        summary
    }

    /// Of the harness's own failure.
    pub(crate) fn of_failure(why: String) -> Self {
        Self { failed: 1, failures: vec![why], ..Self::default() }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.rounds += other.rounds;
        self.messages += other.messages;
        self.verdicts.merge(other.verdicts);
        for (name, figures) in other.faults {
            self.faults.entry(name).or_default().merge(&figures);
        }
        self.failures.extend(other.failures);
        self.peak_memory.resize(other.peak_memory.len().max(self.peak_memory.len()), 0);
        for (peak, found) in self.peak_memory.iter_mut().zip(other.peak_memory) {
            *peak = (*peak).max(found);
        }
        self.reports.extend(other.reports);
    }

    /// `of` says what is checked.
    pub(crate) fn check(&mut self, of: &str, checks: &[Check]) {
        for Check { what, result } in checks {
            match result {
                Ok(()) => self.passed += 1,
                Err(why) => {
                    self.failed += 1;
                    self.failures.push(format!("{of}: not so: {what}: {why}"));
                }
            }
        }
    }

    /// Once all rounds are over: a fault that broke nothing has proven nothing.
    pub(crate) fn judge_faults(&mut self) {
        for (name, figures) in &self.faults {
            match figures {
                FaultFigures { injected: 0, .. } => {}
                FaultFigures { hits: 0, .. } => {
                    self.failed += 1;
                    self.failures.push(format!("{name}: injected, but it broke nothing: the run is vacuous"));
                }
                _ => self.passed += 1,
            }
        }
    }

    /// By the fault's name.
    pub(crate) fn faults(&self) -> &BTreeMap<String, FaultFigures> {
        &self.faults
    }

    pub(crate) fn tell(&mut self, report: String) {
        self.reports.push(report);
    }

    pub(crate) fn reports(&self) -> &[String] {
        &self.reports
    }

    pub(crate) fn failures(&self) -> &[String] {
        &self.failures
    }

    /// The most memory of a reader, a masker and a writer, in bytes.
    pub(crate) fn peak_memory(&self) -> &[u64] {
        &self.peak_memory
    }
}

fn count(items: usize) -> u64 {
    u64::try_from(items).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::fault::{Fault, PostgresFault};
    use crate::load::{Sent, SentMessage};
    use crate::mix::Expected;
    use crate::oracle::Reconciliation;
    use crate::round::check;
    use crate::tally::Injection;
    use std::time::{Duration, Instant};

    /// A round with one restart of Postgres, during which the first message was sent; the second was sent
    /// later.
    pub(crate) fn round(hits: Option<u64>, verdicts: [MessageVerdict; 2]) -> FaultRound {
        let begun = Instant::now();
        let ended = begun + Duration::from_secs(1);
        let at = |at| SentMessage { expected: Expected::default(), at };
        let sent = Sent::from([("a".into(), at(begun)), ("b".into(), at(ended + Duration::from_secs(1)))]);
        let [a, b] = verdicts;
        let verdicts = [("a".into(), a), ("b".into(), b)].into();
        FaultRound {
            name: "seed 3".into(),
            checks: vec![
                check("it works", Ok(())),
                check("nothing is lost", Err(anyhow::anyhow!("1 message"))),
            ],
            injections: vec![Injection {
                fault: Fault::Postgres(PostgresFault::Restart),
                begun,
                ended,
                hits,
            }],
            sent,
            account: Reconciliation { verdicts, ..Reconciliation::default() },
            left: 0,
            drained_in: None,
            peak_memory: vec![3, 1],
        }
    }

    #[test]
    fn rounds_add_up() {
        let mut sum = Summary::of(&round(Some(4), [MessageVerdict::Lost, MessageVerdict::Twice]));
        sum.merge(Summary::of(&round(
            Some(2),
            [MessageVerdict::WrongBody, MessageVerdict::RowAndDeadLetter],
        )));
        assert_eq!((sum.rounds, sum.messages, sum.passed, sum.failed), (2, 4, 2, 2));
        assert_eq!(sum.verdicts, BadVerdicts { lost: 1, twice: 1, both: 1, changed: 1 });
        assert_eq!(sum.peak_memory, [3, 1]);
        let verdicts = BadVerdicts { lost: 1, changed: 1, ..BadVerdicts::default() };
        let restarts = FaultFigures { injected: 2, skipped: 0, hits: 6, messages: 2, verdicts };
        assert_eq!(sum.faults["Postgres: restart"], restarts);
    }

    #[test]
    fn a_fault_that_broke_nothing_in_all_rounds_is_a_failure() {
        let right = [MessageVerdict::Right; 2];
        for (hits, failed) in [(Some(0), 2), (Some(1), 1), (None, 1)] {
            let mut sum = Summary::of(&round(hits, right));
            sum.judge_faults();
            assert_eq!(sum.failed, failed, "{hits:?}");
        }
    }
}
