//! One of the three services as a child process: its ports, readiness, metrics and memory.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use super::child::Child;
use super::log::{self, LogLine};
use super::memory;
use super::metrics::Metrics;

/// How long a service may take until it has logged its ports and "ready".
const START_PATIENCE: Duration = Duration::from_secs(30);

const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// How to start a service. It listens on free loopback ports and logs JSON.
#[derive(Clone, Debug)]
pub struct ServiceCommand {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
}

/// A running service; dropping it kills it.
#[derive(Debug)]
pub struct ServiceProcess {
    name: String,
    child: Child,
    log: PathBuf,
    /// Where this process's lines begin, in bytes: an earlier process may have written to the same file.
    log_start: u64,
    admin: Option<SocketAddr>,
}

impl ServiceCommand {
    /// `program` is a service's executable; `name` appears in messages and names the log file.
    pub fn new(name: &str, program: impl Into<PathBuf>) -> Self {
        let arguments = ["--log-format", "json", "--admin-address", "127.0.0.1:0"].map(str::to_owned);
        Self {
            name: name.to_owned(),
            program: program.into(),
            arguments: arguments.into(),
            variables: Vec::new(),
        }
    }

    /// A service that `program` contains beside other commands, under the name `subcommand`.
    pub fn within(name: &str, program: impl Into<PathBuf>, subcommand: &str) -> Self {
        let mut command = Self::new(name, program);
        command.arguments.insert(0, subcommand.to_owned());
        command
    }

    #[must_use]
    pub fn arg(mut self, flag: &str, value: impl Into<String>) -> Self {
        self.arguments.extend([flag.to_owned(), value.into()]);
        self
    }

    /// For secrets: every user of the machine can read a command line.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Starts the service. Its log is appended to `<name>.log` in `directory`.
    ///
    /// The service does not inherit `VEILPOST_…`, `AWS_…` and `DATABASE_URL…` from this process.
    pub fn start(&self, directory: &Path) -> anyhow::Result<ServiceProcess> {
        let log = directory.join(format!("{}.log", self.name));
        let file = File::options().create(true).append(true).open(&log)?;
        let log_start = file.metadata()?.len();
        let mut command = Command::new(&self.program);
        for (inherited, _) in std::env::vars_os() {
            let name = inherited.to_string_lossy();
            if ["VEILPOST_", "AWS_", "DATABASE_URL"].iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(&inherited);
            }
        }
        command.args(&self.arguments).envs(self.variables.iter().cloned());
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = Child::start(&self.name, &mut command)?;
        Ok(ServiceProcess { name: self.name.clone(), child, log, log_start, admin: None })
    }
}

impl ServiceProcess {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pid(&self) -> i32 {
        self.child.pid()
    }

    /// For sending signals.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub fn log_file(&self) -> &Path {
        &self.log
    }

    pub async fn grpc_address(&mut self) -> anyhow::Result<SocketAddr> {
        self.wait_for_line("its gRPC address", |line| line.listening("grpc")).await
    }

    pub async fn admin_address(&mut self) -> anyhow::Result<SocketAddr> {
        if let Some(known) = self.admin {
            return Ok(known);
        }
        let found = self.wait_for_line("its admin address", |line| line.listening("admin")).await?;
        Ok(*self.admin.insert(found))
    }

    pub async fn ready(&mut self) -> anyhow::Result<()> {
        self.wait_for_line("readiness", |line| (line.message == "ready").then_some(())).await
    }

    /// Waits for a log line from which `pick` takes a value, and returns the last such value. A service that
    /// ends first is an error with the end of its log.
    pub async fn wait_for_line<T>(
        &mut self,
        what: &str,
        pick: impl Fn(&LogLine) -> Option<T>,
    ) -> anyhow::Result<T> {
        let until = Instant::now() + START_PATIENCE;
        loop {
            let ended = self.child.ended();
            let lines = log::lines(&self.log, self.log_start).unwrap_or_default();
            if let Some(found) =
                lines.iter().rev().filter_map(|line| LogLine::parse(line)).find_map(|line| pick(&line))
            {
                return Ok(found);
            }
            if let Some(status) = ended {
                anyhow::bail!(
                    "{} ended ({status}) before {what}; its log ends:\n{}",
                    self.name,
                    self.log_tail()
                );
            }
            if Instant::now() >= until {
                anyhow::bail!("{} did not log {what} in time; its log ends:\n{}", self.name, self.log_tail());
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    pub async fn metrics(&mut self) -> anyhow::Result<Metrics> {
        let admin = self.admin_address().await?;
        Metrics::fetch(admin).await.with_context(|| format!("{} gives no metrics", self.name))
    }

    /// An error with the end of the log once the service has ended.
    pub fn ensure_running(&mut self) -> anyhow::Result<()> {
        match self.child.ended() {
            None => Ok(()),
            Some(status) => {
                anyhow::bail!("{} ended ({status}); its log ends:\n{}", self.name, self.log_tail())
            }
        }
    }

    /// Sends SIGTERM and waits for the end. A service that has not ended within `patience` is an error;
    /// dropping it kills it.
    pub async fn stop(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        self.child.terminate();
        timeout(patience, self.child.wait())
            .await
            .with_context(|| format!("{} did not drain within {patience:?}", self.name))?
    }

    /// The most memory that the process has had in RAM, in bytes. None outside of Linux.
    pub fn peak_memory(&self) -> Option<u64> {
        memory::peak(self.pid())
    }

    /// The last different warnings and errors that the service has logged.
    pub fn problems(&self) -> Vec<String> {
        log::problems(&self.log, self.log_start, 3)
    }

    pub fn log_tail(&self) -> String {
        log::tail(&self.log, self.log_start, 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_service_that_ends_early_is_an_error_with_the_end_of_its_log() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("service");
        std::fs::write(&program, "#!/bin/sh\necho '{\"message\":\"no such table\"}'\nexit 3\n").unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut service = ServiceCommand::new("writer", &program).start(directory.path()).unwrap();
        let error = format!("{:#}", service.ready().await.unwrap_err());
        assert!(error.contains("writer ended") && error.contains("no such table"), "{error}");
    }
}
