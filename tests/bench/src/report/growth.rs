//! How cost grows, as tables.

use super::number::number;
use super::table::{self, Rows, row};
use crate::figures::Figures;
use crate::sections::growth::{BODY_BYTES, COLUMNS, LATENCIES, REPLICAS};

/// What grows: its name in figures, its heading, and the steps.
const KINDS: [(&str, &str, &[u32]); 4] = [
    ("replicas", "replicas of each service", &REPLICAS),
    ("body", "bytes of a body", &BODY_BYTES),
    ("columns", "columns", &COLUMNS),
    ("latency", "ms until an answer", &LATENCIES),
];

/// The figures of one step, and how their columns are headed.
const SHOWN: [(&str, &str); 12] = [
    ("rate", "msg/s"),
    ("bytes", "MB/s"),
    ("eight", "eight at once: msg/s"),
    ("receives", "receives at once"),
    ("deletes", "deletes at once"),
    ("cpu-reader", "reader µs"),
    ("cpu-masker", "masker µs"),
    ("cpu-writer", "writer µs"),
    ("cpu-postgres", "Postgres µs"),
    ("memory-reader", "reader MiB"),
    ("memory-masker", "masker MiB"),
    ("memory-writer", "writer MiB"),
];

pub(crate) fn for_terminal(figures: &Figures) -> String {
    let tables = KINDS.iter().filter_map(|(kind, heading, _)| {
        Some(table::for_terminal(&format!("Growth: {heading}"), &rows(figures, kind).ok()?))
    });
    tables.collect()
}

/// One row a step; without measurements only the heading.
pub(crate) fn rows(figures: &Figures, kind: &str) -> anyhow::Result<Rows> {
    let known = KINDS.iter().find(|(name, ..)| *name == kind);
    let (_, heading, steps) = known.ok_or_else(|| anyhow::anyhow!("nothing grows by {kind}"))?;
    let name = |step: &u32, figure: &str| format!("growth.{kind}.{step}.{figure}");
    let measured = |figure: &str| steps.iter().any(|step| figures.get(&name(step, figure)).is_some());
    let shown: Vec<_> = SHOWN.iter().filter(|(figure, _)| measured(figure)).collect();
    let mut rows = vec![row([heading])];
    if let Some(first) = rows.first_mut() {
        first.extend(shown.iter().map(|(_, heading)| (*heading).to_owned()));
    }
    for step in steps.iter().filter(|step| figures.get(&name(step, "rate")).is_some()) {
        let mut cells = vec![veilpost_local::output::grouped(u64::from(*step))];
        cells.extend(
            shown.iter().map(|(figure, _)| figures.get(&name(step, figure)).map(number).unwrap_or_default()),
        );
        rows.push(cells);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_row_is_one_step_in_its_order() {
        let mut figures = Figures::default();
        for (replicas, rate) in [(2, 20.0), (1, 10.0)] {
            figures.add(&format!("growth.replicas.{replicas}.rate"), "msg/s", rate);
        }
        let rows = rows(&figures, "replicas").unwrap();
        assert_eq!(
            rows,
            [["replicas of each service", "msg/s"], ["1", "10"], ["2", "20"]]
                .map(|row| row.map(str::to_owned))
        );
        assert!(super::rows(&figures, "nothing").is_err());
    }
}
