//! Figures in the documents: between markers, filled from the measurements.
//!
//! A marker is `<!-- bench:NAME -->…<!-- /bench -->`. NAME is a figure's (its number with its unit), or one
//! of `origin`,
//! `sizes`, `summary`, `targets`, `table:GROUP`, `growth:KIND`, `model` and `assumptions`.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::catalogue::Group;
use super::{BenchReport, growth, model, number, summary, table, targets};
use crate::figures::Checks;

const OPEN: &str = "<!-- bench:";
const OPEN_END: &str = " -->";
const CLOSE: &str = "<!-- /bench -->";

/// Units of which every number in the README must be a figure.
const RATES: [&str; 3] = ["msg/s", "rows/s", "records/s"];

/// README and everything under docs.
pub(crate) fn files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = vec![root.join("README.md"), root.join("ARCHITECTURE.md")];
    collect(&root.join("docs"), &mut files)?;
    files.sort();
    Ok(files)
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            files.push(path);
        }
    }
    Ok(())
}

/// The document with the current figures between its markers.
pub(crate) fn fill(text: &str, report: &BenchReport) -> anyhow::Result<String> {
    let mut filled = String::with_capacity(text.len());
    for part in parts(text)? {
        match part {
            DocumentPart::Words(words) => filled.push_str(words),
            DocumentPart::Figure { name, .. } => {
                filled.extend([OPEN, name, OPEN_END, &content(name, report)?, CLOSE]);
            }
        }
    }
    Ok(filled)
}

/// Every marker must say what the measurements say, and no rate in the README may stand outside of one.
pub(crate) fn check(root: &Path, report: &BenchReport, checks: &mut Checks) -> anyhow::Result<()> {
    let mut markers = 0;
    for file in files(root)? {
        let text = std::fs::read_to_string(&file)?;
        let shown = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        for part in parts(&text).with_context(|| shown.clone())? {
            match part {
                DocumentPart::Words(words) if shown == "README.md" => {
                    checks.that(!has_rate(words), || format!("{shown} has a rate outside of a marker"));
                }
                DocumentPart::Words(_) => {}
                DocumentPart::Figure { name, content: found } => {
                    markers += 1;
                    let expected = content(name, report);
                    checks.that(expected.is_ok_and(|expected| expected == found), || {
                        format!("{shown}: {name} is stale; `veilpost-bench render` writes it anew")
                    });
                }
            }
        }
    }
    checks.that(markers > 0, || "no document has a figure".to_owned());
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum DocumentPart<'t> {
    Words(&'t str),
    Figure { name: &'t str, content: &'t str },
}

fn parts(text: &str) -> anyhow::Result<Vec<DocumentPart<'_>>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((words, marked)) = rest.split_once(OPEN) {
        let (name, marked) = marked.split_once(OPEN_END).context("a marker does not end")?;
        let (content, after) =
            marked.split_once(CLOSE).with_context(|| format!("nothing closes the marker {name}"))?;
        anyhow::ensure!(!content.contains(OPEN), "nothing closes the marker {name}");
        parts.extend([DocumentPart::Words(words), DocumentPart::Figure { name, content }]);
        rest = after;
    }
    parts.push(DocumentPart::Words(rest));
    Ok(parts)
}

fn content(name: &str, report: &BenchReport) -> anyhow::Result<String> {
    let figures = &report.figures;
    let block = |text: String| format!("\n{}\n", text.trim_end());
    Ok(match name.split_once(':').unwrap_or((name, "")) {
        ("origin", _) => block(report.origin.sentence()),
        ("sizes", _) => block(report.origin.sizes()),
        ("summary", _) => block(summary::list(figures)?),
        ("targets", _) => block(table::for_document(&targets::rows(figures))),
        ("model", _) => block(table::for_document(&model::rows(figures)?)),
        ("assumptions", _) => block(model::assumptions()),
        ("growth", kind) => block(table::for_document(&growth::rows(figures, kind)?)),
        ("table", group) => {
            let group = Group::named(group).with_context(|| format!("there is no table {group}"))?;
            block(table::for_document(&group.rows(figures)))
        }
        _ => number::with_unit(figures.get(name).with_context(|| format!("there is no figure {name}"))?),
    })
}

/// Whether a number with a rate's unit is in the text.
fn has_rate(text: &str) -> bool {
    RATES.iter().any(|unit| {
        let mut before = text.split(unit).collect::<Vec<_>>();
        before.pop();
        before
            .iter()
            .any(|before| before.trim_end().ends_with(|last: char| last.is_ascii_digit() || last == 'k'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Figures;
    use crate::report::origin::Origin;

    fn report() -> BenchReport {
        let mut figures = Figures::default();
        figures.add("end-to-end.rate", "msg/s", 12_345.0);
        BenchReport::new(Origin::for_tests("p"), figures)
    }

    #[test]
    fn only_the_text_between_markers_is_replaced() {
        let stale = "about <!-- bench:end-to-end.rate -->9 msg/s<!-- /bench --> here";
        let filled = fill(stale, &report()).unwrap();
        assert_eq!(filled, "about <!-- bench:end-to-end.rate -->12,345 msg/s<!-- /bench --> here");
        assert_eq!(fill(&filled, &report()).unwrap(), filled);
    }

    #[test]
    fn a_marker_without_an_end_or_of_an_unknown_figure_is_an_error() {
        for text in ["<!-- bench:end-to-end.rate -->1", "<!-- bench:nothing -->1<!-- /bench -->"] {
            assert!(fill(text, &report()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_stale_figure_and_a_bare_rate_fail_the_check() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("docs")).unwrap();
        std::fs::write(root.path().join("ARCHITECTURE.md"), "").unwrap();
        let failures = |readme: &str| {
            std::fs::write(root.path().join("README.md"), readme).unwrap();
            let mut checks = Checks::default();
            check(root.path(), &report(), &mut checks).unwrap();
            checks.failed.join("; ")
        };
        assert_eq!(failures("<!-- bench:end-to-end.rate -->12,345 msg/s<!-- /bench -->"), "");
        assert!(failures("<!-- bench:end-to-end.rate -->12,344 msg/s<!-- /bench -->").contains("stale"));
        assert!(failures("up to 20k msg/s").contains("outside of a marker"));
        assert!(failures("no figure").contains("no document has a figure"));
    }
}
