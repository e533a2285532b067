//! `veilpost demo`: the whole pipeline on one machine, every message accounted for.

mod account;
mod dead_letters;
mod pipeline;
mod report;
mod run;
mod settings;
mod store;
mod table;
mod watch;

use std::process::ExitCode;

pub(crate) use settings::DemoSettings;

use run::Run;
use veilpost_local::output::{print, say};
use veilpost_local::process::{EndingSignals, until_signal};

/// Runs the demo; with `--keep` until a signal comes. Dropping this future ends everything that it has
/// started.
pub(crate) async fn run(settings: &DemoSettings, signals: &mut EndingSignals) -> anyhow::Result<ExitCode> {
    let mut kept = None;
    let outcome = until_signal(signals, async {
        let (run, report) = Run::to_report(settings).await?;
        print(&report.output(settings.json)?)?;
        kept = run;
        Ok(if report.accounted() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    });
    let outcome = Box::pin(outcome).await?;
    if let Some(mut run) = kept {
        say(&run.how_to_look());
        signals.next().await;
        say("Stopping");
        run.stop().await?;
    }
    Ok(outcome)
}
