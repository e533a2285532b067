//! A child process that never outlives its guard.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{ChildStderr, ChildStdout, Command};

/// How long a dropped guard waits for a child that was killed.
const KILL_WAIT: Duration = Duration::from_secs(5);

/// A child in a process group of its own, so that Ctrl-C in the terminal reaches only its parent. Dropping it
/// kills the group and waits until the child is gone.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: tokio::process::Child,
    pid: Pid,
}

impl Child {
    pub fn start(name: &str, command: &mut Command) -> anyhow::Result<Self> {
        let program = command.as_std().get_program().to_owned();
        let process = command
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name} ({})", program.display()))?;
        let pid = process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self {
            name: name.to_owned(),
            process,
            pid: pid.with_context(|| format!("{name} has no process id"))?,
        })
    }

    pub fn pid(&self) -> i32 {
        self.pid.as_raw_pid()
    }

    /// Standard output and error, if the command pipes them. A second call returns none.
    pub fn take_output(&mut self) -> Option<(ChildStdout, ChildStderr)> {
        Some((self.process.stdout.take()?, self.process.stderr.take()?))
    }

    /// The exit status if the child has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().ok().flatten()
    }

    /// Waits for the end. Cancel safe.
    pub async fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        self.process.wait().await.with_context(|| format!("cannot wait for {}", self.name))
    }

    /// Sends SIGTERM, which asks a service to drain.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGINT, as Ctrl-C does. Postgres shuts down in fast mode.
    pub fn interrupt(&mut self) {
        self.signal(Signal::INT);
    }

    /// Sends SIGQUIT. Postgres shuts down in immediate mode and recovers at its next start.
    pub fn quit(&mut self) {
        self.signal(Signal::QUIT);
    }

    /// Sends SIGKILL, which ends the child at once, as a crash does.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
    }

    /// Sends SIGSTOP, which freezes the child as a hanging machine does, until [`Self::resume`].
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    /// Waits for the end without a runtime; false if the child is still there after `patience`.
    pub(crate) fn wait_blocking(&mut self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while self.ended().is_none() {
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// Sends nothing to a child that has ended: its process id may belong to another process.
    fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            kill_process(self.pid, signal).ok();
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended().is_none() {
            kill_process_group(self.pid, Signal::KILL).ok();
            self.wait_blocking(KILL_WAIT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dropped_guard_leaves_no_process() {
        let child = Child::start("sleep", Command::new("sleep").arg("60")).unwrap();
        let pid = Pid::from_raw(child.pid()).unwrap();
        assert!(rustix::process::test_kill_process(pid).is_ok());
        drop(child);
        assert!(rustix::process::test_kill_process(pid).is_err());
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let error = Child::start("nothing", &mut Command::new("/nowhere/nothing")).unwrap_err();
        assert!(format!("{error:#}").contains("/nowhere/nothing"));
    }
}
