//! What a run prints at its end.

use std::fmt::Write;

use crate::summary::{BadVerdicts, FaultFigures, Summary};

/// Reports, the table of faults, failures with the commands that replay them, and last the line that sums all
/// up.
pub(crate) fn conclusion(summary: &Summary) -> String {
    let mut lines: Vec<String> = summary.reports().to_vec();
    if summary.messages > 0 {
        lines.push(table(summary));
        let peaks = summary.peak_memory().iter().map(|bytes| (bytes >> 20).to_string());
        let peaks = peaks.collect::<Vec<_>>().join(", ");
        lines.push(format!("most memory of a reader, a masker, a writer: {peaks} MiB"));
        lines.push(format!("{} rounds", summary.rounds));
    }
    let skipped = summary.faults().iter().filter(|(_, figures)| figures.skipped > 0);
    lines.extend(skipped.map(|(fault, figures)| {
        let times = figures.skipped;
        format!("{times} skipped: {fault} (this machine lacks what it needs)")
    }));
    lines.extend_from_slice(summary.failures());
    let mut replays: Vec<_> = summary.failures().iter().filter_map(|failure| replay(failure)).collect();
    replays.dedup();
    lines.extend(replays.into_iter().map(|arguments| format!("replay: tests/faults/run {arguments}")));
    lines.push(format!("{} passed, {} failed\n", summary.passed, summary.failed));
    lines.join("\n")
}

/// The faults as Markdown.
fn table(summary: &Summary) -> String {
    let mut table = String::from(
        "| fault | injected | things it broke | messages sent meanwhile | lost | stored twice | stored and dead-lettered | changed |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let mut row = |name: &str, figures: &FaultFigures| {
        let FaultFigures { injected, hits, messages, verdicts, .. } = figures;
        let BadVerdicts { lost, twice, both, changed } = verdicts;
        // A string takes everything.
        writeln!(
            table,
            "| {name} | {injected} | {hits} | {messages} | {lost} | {twice} | {both} | {changed} |"
        )
        .ok();
    };
    for (name, figures) in summary.faults() {
        row(name, figures);
    }
    let sum = |of: fn(&FaultFigures) -> u64| summary.faults().values().map(of).sum();
    let all = FaultFigures {
        injected: sum(|figures| figures.injected),
        skipped: 0,
        hits: sum(|figures| figures.hits),
        messages: summary.messages,
        verdicts: summary.verdicts,
    };
    row("**all together**", &all);
    table
}

/// The arguments that run what failed again.
fn replay(failure: &str) -> Option<String> {
    let (name, _) = failure.split_once(':')?;
    if name == "constant errors" {
        return Some("--constant".to_owned());
    }
    let (kind, seed) = name.split_once(' ')?;
    let seed: u64 = seed.parse().ok()?;
    matches!(kind, "seed" | "failover").then(|| format!("--{kind} {seed}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::MessageVerdict;
    use crate::summary::tests::round;

    #[test]
    fn a_failure_tells_how_to_repeat_it() {
        assert_eq!(replay("seed 17: not so: x").as_deref(), Some("--seed 17"));
        assert_eq!(replay("failover 3: not so: x").as_deref(), Some("--failover 3"));
        assert_eq!(replay("constant errors: not so: x").as_deref(), Some("--constant"));
        assert_eq!(replay("Postgres: restart: injected"), None);
    }

    #[test]
    fn the_conclusion_has_the_table_and_what_failed() {
        let summary = Summary::of(&round(Some(4), [MessageVerdict::Lost, MessageVerdict::Twice]));
        let conclusion = conclusion(&summary);
        for line in [
            "| Postgres: restart | 1 | 4 | 1 | 1 | 0 | 0 | 0 |",
            "| **all together** | 1 | 4 | 2 | 1 | 1 | 0 | 0 |",
            "seed 3: not so: nothing is lost: 1 message",
            "replay: tests/faults/run --seed 3",
            "1 passed, 1 failed",
        ] {
            assert!(conclusion.lines().any(|found| found == line), "{line} is not in {conclusion}");
        }
    }
}
