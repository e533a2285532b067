//! What Veilpost must reach, as ratios within one run.

use super::number::with_unit;
use super::table::{Rows, row};
use crate::figures::{Figure, Figures};

/// A bound on a figure.
struct Goal {
    figure: &'static str,
    what: &'static str,
    bound: Bound,
    /// What is aimed at beyond the bound.
    aim: Option<f64>,
}

enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

const fn at_least(figure: &'static str, what: &'static str, bound: f64, aim: Option<f64>) -> Goal {
    Goal { figure, what, bound: Bound::AtLeast(bound), aim }
}

const fn at_most(figure: &'static str, what: &'static str, bound: f64, aim: Option<f64>) -> Goal {
    Goal { figure, what, bound: Bound::AtMost(bound), aim }
}

const TARGETS: [Goal; 14] = [
    at_least("end-to-end.ratio", "end to end against the bare receive-and-delete loop", 0.6, Some(0.75)),
    at_most("reader.cpu-ratio", "reader: CPU a message against the bare SDK loop", 1.3, None),
    at_least("masker.ratio", "masker: records/s of one core against the bare masking loop", 0.5, None),
    at_least("masker.per-core", "masker: records/s of one core", 300_000.0, None),
    at_least("writer.ratio", "writer: rows/s over gRPC against a bare loop of its statement", 0.85, None),
    at_least("ledger.ratio", "ledger: rows/s with it against without it", 0.55, Some(0.65)),
    at_least("today.ratio", "end to end against one at a time", 150.0, None),
    at_most("idle.above-p99", "idle, sent to committed, p99 above the queue's own wake-up", 25.0, None),
    at_most("memory.reader", "reader: peak memory with a long queue", 64.0, Some(40.0)),
    at_most("memory.masker", "masker: peak memory with a long queue", 64.0, Some(40.0)),
    at_most("memory.writer", "writer: peak memory with a long queue", 64.0, Some(40.0)),
    at_most("start.reader", "reader: start to ready", 200.0, None),
    at_most("start.masker", "masker: start to ready", 200.0, None),
    at_most("start.writer", "writer: start to ready", 200.0, None),
];

impl Goal {
    fn verdict(&self, value: f64) -> &'static str {
        let holds = |bound: f64| match self.bound {
            Bound::AtLeast(_) => value >= bound,
            Bound::AtMost(_) => value <= bound,
        };
        let (Bound::AtLeast(bound) | Bound::AtMost(bound)) = self.bound;
        match (holds(bound), self.aim) {
            (false, _) => "missed",
            (true, Some(aim)) if !holds(aim) => "reached, short of the aim",
            (true, _) => "reached",
        }
    }

    fn wanted(&self, unit: &str) -> String {
        let shown = |value| with_unit(&Figure { value, unit: unit.to_owned(), samples: Vec::new() });
        let bound = match self.bound {
            Bound::AtLeast(bound) => format!("≥ {}", shown(bound)),
            Bound::AtMost(bound) => format!("≤ {}", shown(bound)),
        };
        match self.aim {
            Some(aim) => format!("{bound}, aim {}", shown(aim)),
            None => bound,
        }
    }
}

/// What was measured, compared with the targets.
pub(crate) fn rows(figures: &Figures) -> Rows {
    let mut rows = vec![row(["what", "measured", "target", ""])];
    for target in &TARGETS {
        let Some(figure) = figures.get(target.figure) else { continue };
        let verdict = target.verdict(figure.value).to_owned();
        rows.push(vec![target.what.to_owned(), with_unit(figure), target.wanted(&figure.unit), verdict]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_and_aims_are_judged_in_their_direction() {
        let mut figures = Figures::default();
        figures.add("end-to-end.ratio", "ratio", 0.7);
        figures.add("memory.reader", "MiB", 30.0);
        figures.add("start.reader", "ms", 201.0);
        let verdicts: Vec<String> = rows(&figures).iter().skip(1).map(|row| row[3].clone()).collect();
        assert_eq!(verdicts, ["reached, short of the aim", "reached", "missed"]);
        assert_eq!(rows(&figures)[1][2], "≥ 0.60, aim 0.75");
    }
}
