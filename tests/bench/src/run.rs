//! One run: every section that was asked for, then the result.

use std::process::ExitCode;

use veilpost_local::output::{print, say};

use crate::figures::Results;
use crate::report::{self, BenchReport, Origin};
use crate::sections;
use crate::settings::{Section, Settings};
use crate::testbed::Testbed;

pub(crate) async fn run(settings: Settings) -> anyhow::Result<ExitCode> {
    let settings = settings.sized();
    let mut testbed = Testbed::start(settings.clone()).await?;
    let origin = Origin::find(&mut testbed).await?;
    let mut results = Results::default();
    for section in settings.sections() {
        say(&format!("measuring: {section:?}"));
        testbed.settle().await?;
        Box::pin(measure(section, &mut testbed, &mut results)).await?;
    }
    drop(testbed);
    let report = BenchReport::new(origin, results.figures);
    print(&report.text())?;
    report::write(&report, &settings)?;
    print(&results.checks.summary())?;
    Ok(if results.checks.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(section: Section, testbed: &mut Testbed, results: &mut Results) -> anyhow::Result<()> {
    match section {
        Section::Pipeline => sections::pipeline::measure(testbed, results).await,
        Section::Idle => Box::pin(sections::idle::measure(testbed, results)).await,
        Section::Today => sections::today::measure(testbed, results).await,
        Section::Start => sections::start::measure(testbed, results).await,
        Section::Memory => sections::memory::measure(testbed, results).await,
        Section::Masker => sections::masker::measure(testbed, results).await,
        Section::Stream => sections::stream::measure(testbed, results).await,
        Section::Writer => sections::writer::measure(testbed, results).await,
        Section::Ledger => sections::ledger::measure(testbed, results).await,
        Section::Growth => sections::growth::measure(testbed, results).await,
    }
}
