//! One run: every section that was asked for, then the result.

use std::process::ExitCode;

use veilpost_local::output::{print, say};

use crate::figures::{Checks, Figures};
use crate::report::{self, Origin, Report};
use crate::sections;
use crate::settings::{Section, Settings};
use crate::world::World;

/// What sections write to.
#[derive(Debug, Default)]
pub(crate) struct Sheet {
    pub(crate) figures: Figures,
    pub(crate) checks: Checks,
}

pub(crate) async fn run(settings: Settings) -> anyhow::Result<ExitCode> {
    let settings = settings.sized();
    let mut world = World::start(settings.clone()).await?;
    let origin = Origin::find(&mut world).await?;
    let mut sheet = Sheet::default();
    for section in settings.sections() {
        say(&format!("measuring: {section:?}"));
        world.settle().await?;
        Box::pin(measure(section, &mut world, &mut sheet)).await?;
    }
    drop(world);
    let report = Report::new(origin, sheet.figures);
    print(&report.text())?;
    report::write(&report, &settings)?;
    print(&sheet.checks.summary())?;
    Ok(if sheet.checks.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(section: Section, world: &mut World, sheet: &mut Sheet) -> anyhow::Result<()> {
    match section {
        Section::Pipeline => sections::pipeline::measure(world, sheet).await,
        Section::Idle => Box::pin(sections::idle::measure(world, sheet)).await,
        Section::Today => sections::today::measure(world, sheet).await,
        Section::Start => sections::start::measure(world, sheet).await,
        Section::Memory => sections::memory::measure(world, sheet).await,
        Section::Masker => sections::masker::measure(world, sheet).await,
        Section::Stream => sections::stream::measure(world, sheet).await,
        Section::Writer => sections::writer::measure(world, sheet).await,
        Section::Ledger => sections::ledger::measure(world, sheet).await,
        Section::Growth => sections::growth::measure(world, sheet).await,
    }
}
