//! The result: as text, as JSON, as a picture, and in the documents.

mod catalogue;
mod documents;
mod growth;
mod history;
mod model;
mod number;
mod origin;
mod picture;
mod summary;
mod table;
mod targets;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use veilpost_local::output::{print, say};

use crate::figures::{Checks, Figures};
use crate::settings::Settings;

pub(crate) use origin::Origin;

const JSON: &str = "docs/performance.json";
const PICTURE: &str = "docs/performance.svg";

/// Figures, and where they are from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct BenchReport {
    pub(crate) origin: Origin,
    pub(crate) figures: Figures,
}

impl BenchReport {
    pub(crate) fn new(origin: Origin, figures: Figures) -> Self {
        Self { origin, figures }
    }

    /// For people at a terminal.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("\n{}\n", self.origin.sentence());
        for group in catalogue::GROUPS {
            text.push_str(&table::for_terminal(group.title, &group.rows(&self.figures)));
        }
        text.push_str(&growth::for_terminal(&self.figures));
        text.push_str(&table::for_terminal("Targets", &targets::rows(&self.figures)));
        text
    }

    fn json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    fn read(root: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(root.join(JSON)).with_context(|| format!("cannot read {JSON}"))?;
        serde_json::from_str(&text).with_context(|| format!("{JSON} is not what this program writes"))
    }
}

/// Writes what the settings ask for.
pub(crate) fn write(report: &BenchReport, settings: &Settings) -> anyhow::Result<()> {
    if let Some(file) = &settings.json {
        std::fs::write(file, report.json()?)?;
    }
    if let Some(file) = &settings.svg {
        std::fs::write(file, picture::draw(&report.figures, &report.origin))?;
    }
    if settings.update {
        std::fs::write(root()?.join(JSON), report.json()?)?;
        render()?;
    }
    Ok(())
}

/// Writes the documents' figures and the picture again.
pub(crate) fn render() -> anyhow::Result<ExitCode> {
    let root = root()?;
    let report = BenchReport::read(&root)?;
    std::fs::write(root.join(PICTURE), picture::draw(&report.figures, &report.origin))?;
    for file in documents::files(&root)? {
        let text = std::fs::read_to_string(&file)?;
        let filled = documents::fill(&text, &report).with_context(|| file.display().to_string())?;
        if filled != text {
            std::fs::write(&file, filled)?;
            say(&format!("wrote {}", file.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether documents, picture and measurements belong together.
pub(crate) fn check() -> anyhow::Result<ExitCode> {
    let root = root()?;
    let report = BenchReport::read(&root)?;
    let mut checks = Checks::default();
    documents::check(&root, &report, &mut checks)?;
    let drawn = picture::draw(&report.figures, &report.origin);
    let committed = std::fs::read_to_string(root.join(PICTURE)).unwrap_or_default();
    checks.that(drawn == committed, || format!("{PICTURE} is not drawn from {JSON}"));
    history::check(&root, &report.origin, &mut checks);
    print(&checks.summary())?;
    Ok(if checks.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The repository: the nearest directory at or above this one that has the documents.
fn root() -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir()?;
    let found = here.ancestors().find(|directory| directory.join("docs/performance.md").is_file());
    Ok(found.context("docs/performance.md is in no directory above this one")?.to_owned())
}
