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
use tempfile::TempDir;
use veilpost_local::output::{print, say};
use veilpost_local::process::{EndingSignals, until_signal};

/// Runs the demo; with `--keep` until a signal comes. Dropping this future ends everything that it has
/// started. When something goes wrong, the logs are kept.
pub(crate) async fn run(settings: &DemoSettings, signals: &mut EndingSignals) -> anyhow::Result<ExitCode> {
    let logs = tempfile::Builder::new().prefix("veilpost-demo-").tempdir()?;
    let mut kept = None;
    let outcome = until_signal(signals, async {
        let (run, report) = Run::to_report(settings, logs.path()).await?;
        print(&report.output(settings.json)?)?;
        kept = run;
        Ok(if report.accounted() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    });
    let outcome = match Box::pin(outcome).await {
        Ok(outcome) => outcome,
        Err(error) => return Err(with_logs(&error, logs)),
    };
    if let Some(mut run) = kept {
        say(&run.how_to_look());
        signals.next().await;
        say("Stopping");
        run.stop().await?;
    }
    if outcome == ExitCode::FAILURE {
        say(&format!("The services' logs are in {}", logs.keep().display()));
    }
    Ok(outcome)
}

/// `error`, and where the logs are if there are any.
fn with_logs(error: &anyhow::Error, logs: TempDir) -> anyhow::Error {
    let is_empty = std::fs::read_dir(logs.path()).is_ok_and(|mut files| files.next().is_none());
    if is_empty {
        return anyhow::anyhow!("{error:#}");
    }
    anyhow::anyhow!("{error:#}\nThe logs are in {}", logs.keep().display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_kept_and_named_only_if_there_are_any() {
        let (empty, full) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let gone = empty.path().to_owned();
        std::fs::write(full.path().join("writer.log"), "x").unwrap();
        let path = full.path().to_owned();
        let error = anyhow::anyhow!("no port").context("cannot start");
        assert_eq!(with_logs(&error, empty).to_string(), "cannot start: no port");
        assert!(with_logs(&error, full).to_string().contains(path.to_str().unwrap()));
        assert!(!gone.exists() && path.join("writer.log").exists());
        std::fs::remove_dir_all(path).unwrap();
    }
}
