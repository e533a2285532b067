//! The picture: bars as SVG.

use std::fmt::Write;

use super::number::with_unit;
use super::origin::Origin;
use crate::figures::Figures;

const WIDTH: f64 = 860.0;
const LABELS: f64 = 330.0;
const BARS: f64 = 400.0;
const BAR: f64 = 18.0;
const STEP: f64 = 26.0;
const TITLE: f64 = 44.0;

const OURS: &str = "#2f6f9f";
const THEIRS: &str = "#9aa5ad";

/// One chart: its title, and its bars as figure, label and whether it is Veilpost's own.
type Chart = (&'static str, &'static [(&'static str, &'static str, bool)]);

const CHARTS: [Chart; 4] = [
    (
        "Messages a second, queue to committed rows, two cores for everything",
        &[
            ("bare-queue.rate", "bare receive-and-delete loop", false),
            ("end-to-end.rate", "Veilpost, exactly once into Postgres", true),
            ("today.rate", "one at a time, a connection a row", false),
        ],
    ),
    (
        "CPU time a message",
        &[
            ("bare-queue.cpu", "bare SDK loop", false),
            ("end-to-end.cpu-reader", "reader", true),
            ("end-to-end.cpu-masker", "masker", true),
            ("end-to-end.cpu-writer", "writer", true),
            ("end-to-end.cpu-postgres", "Postgres", false),
            ("end-to-end.cpu-queue", "queue", false),
        ],
    ),
    (
        "Rows a second into Postgres, two connections, fsync on",
        &[
            ("writer.bare", "bare loop of the writer's statement", false),
            ("writer.rate", "the writer, fed over gRPC", true),
            ("writer.copy", "COPY, no ledger", false),
            ("ledger.with", "the statement, full ledger", true),
            ("ledger.without", "the statement without the ledger", false),
        ],
    ),
    (
        "Records a second and core through the masker",
        &[
            ("masker.bare-per-core", "bare masking loop", false),
            ("masker.per-core", "the masker as a service", true),
        ],
    ),
];

/// Charts without measurements are left out.
pub(crate) fn draw(figures: &Figures, origin: &Origin) -> String {
    let mut body = String::new();
    let mut top = 10.0;
    for (title, bars) in CHARTS {
        let bars: Vec<_> =
            bars.iter().filter_map(|(name, label, ours)| Some((figures.get(name)?, *label, *ours))).collect();
        let most = bars.iter().map(|(figure, ..)| figure.value).fold(0.0, f64::max);
        if bars.is_empty() || most <= 0.0 {
            continue;
        }
        text(&mut body, 10.0, top + 24.0, "start", "bold", title);
        top += TITLE;
        for (figure, label, ours) in bars {
            let width = BARS * figure.value / most;
            let colour = if ours { OURS } else { THEIRS };
            text(&mut body, LABELS - 10.0, top + 14.0, "end", "normal", label);
            writeln!(
                body,
                r#"<rect x="{LABELS:.0}" y="{top:.0}" width="{width:.1}" height="{BAR:.0}" fill="{colour}"/>"#
            )
            .ok();
            text(&mut body, LABELS + width + 8.0, top + 14.0, "start", "normal", &with_unit(figure));
            top += STEP;
        }
    }
    text(&mut body, 10.0, top + 20.0, "start", "normal", &caption(origin));
    let height = top + 34.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"{WIDTH:.0}\" height=\"{height:.0}\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

fn caption(origin: &Origin) -> String {
    format!(
        "{}, commit {}, {} cores of {}",
        origin.date, origin.commit, origin.machine.cores, origin.machine.processor
    )
}

fn text(body: &mut String, x: f64, y: f64, anchor: &str, weight: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    writeln!(
        body,
        r##"<text x="{x:.0}" y="{y:.0}" text-anchor="{anchor}" font-weight="{weight}" fill="#222">{words}</text>"##
    )
    .ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_is_the_greatest_figure_and_words_are_escaped() {
        let origin = Origin::for_tests("A & B");
        let mut figures = Figures::default();
        figures.add("masker.bare-per-core", "records/s", 400_000.0);
        figures.add("masker.per-core", "records/s", 300_000.0);
        let drawn = draw(&figures, &origin);
        assert!(drawn.contains(r#"width="400.0""#) && drawn.contains(r#"width="300.0""#));
        assert!(drawn.contains("A &amp; B") && !drawn.contains("Messages a second"));
    }
}
