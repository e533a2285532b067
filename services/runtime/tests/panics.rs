//! What a process says of panics: where they were, and never their messages, which may quote the data at
//! hand.

#![allow(clippy::unwrap_used, clippy::panic, reason = "it panics on purpose")]

use std::process::{Command, ExitCode};
use std::time::Duration;

use veilpost_runtime::{CommonSettings, Lifecycle, LogFormat, run};

/// Set in the process that panics: how its logs look.
const FORMAT: &str = "VEILPOST_PANICS";

/// A value of a record.
const MARK: &str = "LEAKME-in-a-panic";

/// The process is this test itself, started again: hook, tasks, logs and exit status are those of a service.
#[test]
fn panics_are_logged_by_place_and_never_by_message() {
    if let Ok(format) = std::env::var(FORMAT) {
        let format = if format == "json" { LogFormat::Json } else { LogFormat::Pretty };
        let failed = panicking(format) == ExitCode::FAILURE;
        std::process::exit(failed.into());
    }
    for format in ["json", "pretty"] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "panics_are_logged_by_place_and_never_by_message", "--nocapture"])
            .env(FORMAT, format)
            .env("RUST_BACKTRACE", "full")
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let said = format!("{out}{err}");
        assert!(!said.contains("LEAKME"), "{said}");
        assert_eq!(said.matches("tests/panics.rs:").count(), 5, "one place for each panic: {said}");
        assert!(said.contains("a task failed; draining"), "{said}");
        assert_eq!(output.status.code(), Some(1), "{said}");
    }
}

/// A service whose tasks panic over a value, in each way in which Rust's own panics quote one.
fn panicking(log_format: LogFormat) -> ExitCode {
    let log = "trace".parse().unwrap();
    let common = CommonSettings { log_format, log, grace_period: Duration::from_secs(5) };
    run("panics", &common, "127.0.0.1:0".parse().unwrap(), async |life: Lifecycle| {
        life.spawn("message", async { panic!("this value: {MARK}") });
        life.spawn("unwrap", async { refuse(MARK).unwrap() });
        life.spawn("assertion", async {
            assert_eq!(MARK, std::env::consts::OS);
            Ok(())
        });
        // As masker and writer do around a record and a load.
        assert!(std::panic::catch_unwind(|| std::panic::panic_any(MARK.to_owned())).is_err());
        // The message is in the error of the task's `JoinHandle`.
        assert!(tokio::task::spawn_blocking(|| panic!("{MARK}")).await.is_err());
        life.draining().await;
        Ok(())
    })
}

fn refuse(value: &str) -> Result<anyhow::Result<()>, String> {
    Err(value.to_owned())
}
