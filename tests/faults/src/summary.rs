//! What came of all rounds: checks, and the table of faults.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::oracle::MessageVerdict;
use crate::round::{Check, FaultRound};

/// Sums over rounds.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) messages: u64,
    pub(crate) lost: u64,
    pub(crate) twice: u64,
    /// In the order in which faults were first met.
    faults: BTreeMap<String, FaultFigures>,
    /// The checks that failed, and why.
    failures: Vec<String>,
    peak_memory: Vec<u64>,
    /// Reports besides the table of faults.
    reports: Vec<String>,
}

/// Of one kind of fault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct FaultFigures {
    injected: u64,
    skipped: u64,
    hits: u64,
    /// Messages sent while it lasted.
    messages: u64,
    lost: u64,
    twice: u64,
}

impl Summary {
    pub(crate) fn add(&mut self, round: &FaultRound) {
        self.check(&format!("seed {}", round.seed), &round.checks);
        self.messages += count(round.sent.len());
        self.lost += round.account.with(MessageVerdict::Lost);
        self.twice +=
            round.account.with(MessageVerdict::Twice) + round.account.with(MessageVerdict::RowAndDeadLetter);
        for injection in &round.injections {
            let figures = self.faults.entry(injection.fault.to_string()).or_default();
            match injection.hits {
                None => figures.skipped += 1,
                Some(hits) => {
                    figures.injected += 1;
                    figures.hits += hits;
                }
            }
            for (id, message) in &round.sent {
                if message.at < injection.begun || message.at > injection.ended {
                    continue;
                }
                figures.messages += 1;
                match round.account.verdicts.get(id) {
                    Some(MessageVerdict::Lost) => figures.lost += 1,
                    Some(MessageVerdict::Twice | MessageVerdict::RowAndDeadLetter) => figures.twice += 1,
                    _ => {}
                }
            }
        }
        self.peak_memory.resize(round.peak_memory.len().max(self.peak_memory.len()), 0);
        for (peak, found) in self.peak_memory.iter_mut().zip(&round.peak_memory) {
            *peak = (*peak).max(*found);
        }
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

    pub(crate) fn fail(&mut self, why: String) {
        self.failed += 1;
        self.failures.push(why);
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

    /// What this machine could not have, with the number of times.
    pub(crate) fn skipped(&self) -> Vec<(&str, u64)> {
        let skipped = self.faults.iter().filter(|(_, figures)| figures.skipped > 0);
        skipped.map(|(name, figures)| (name.as_str(), figures.skipped)).collect()
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

    /// As Markdown.
    pub(crate) fn table(&self) -> String {
        let mut table = String::from(
            "| fault | injected | things it broke | messages sent meanwhile | lost | duplicated |\n|---|--:|--:|--:|--:|--:|\n",
        );
        for (name, figures) in &self.faults {
            let FaultFigures { injected, hits, messages, lost, twice, .. } = figures;
            // A string takes everything.
            writeln!(table, "| {name} | {injected} | {hits} | {messages} | {lost} | {twice} |").ok();
        }
        let (messages, lost, twice) = (self.messages, self.lost, self.twice);
        let injected: u64 = self.faults.values().map(|figures| figures.injected).sum();
        let hits: u64 = self.faults.values().map(|figures| figures.hits).sum();
        writeln!(table, "| **all together** | {injected} | {hits} | {messages} | {lost} | {twice} |").ok();
        table
    }
}

fn count(items: usize) -> u64 {
    u64::try_from(items).unwrap_or(u64::MAX)
}
