//! The signals that ask this process to end.

use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit status of a command that a signal ended, as shells have it.
const INTERRUPTED: u8 = 130;

/// The signals that ask this process to end: Ctrl-C, SIGTERM, and a closed terminal. Once installed, none of
/// them ends the process by itself.
#[derive(Debug)]
pub struct EndingSignals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl EndingSignals {
    pub fn install() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Resolves at the next one. Cancel safe.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Runs `work` until it ends or a signal comes. On a signal `work` is dropped, which ends the processes that
/// it has started, and the exit status is 130.
pub async fn until_signal(
    signals: &mut EndingSignals,
    work: impl Future<Output = anyhow::Result<ExitCode>>,
) -> anyhow::Result<ExitCode> {
    tokio::select! {
        result = work => result,
        () = signals.next() => Ok(ExitCode::from(INTERRUPTED)),
    }
}
