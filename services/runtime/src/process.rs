//! The process of a service: from settings to exit status.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::server::Admin;
use crate::telemetry::{MetricsHandle, Telemetry};
use crate::{BadSettings, CommonSettings, Lifecycle, allocator, memory};

/// How long blocking work may delay the end of the process.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);

/// Runs `service` with telemetry, signal handling and the admin port on `admin_address`; returns when the
/// service and all its tasks have ended.
///
/// The exit status is 0 after a clean drain, 1 after a failure and 2 for [`BadSettings`]. The first SIGTERM
/// or SIGINT begins the drain. The abort follows when the grace period is over except for a fifth of it, at
/// most five seconds. The end of the grace period, or a second signal, ends the process at once.
///
/// To be called once, from `main`: it installs the process's logger, metrics recorder and panic hook. The
/// crate's own documentation shows a whole service.
pub fn run<F>(name: &'static str, common: &CommonSettings, admin_address: SocketAddr, service: F) -> ExitCode
where
    F: AsyncFnOnce(Lifecycle) -> anyhow::Result<()>,
{
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            // There are no logs yet, and nothing is left to do when stderr is gone too.
            let _gone = writeln!(std::io::stderr(), "cannot start the asynchronous runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        match Telemetry::start(name, common) {
            Ok(telemetry) => {
                let version = env!("CARGO_PKG_VERSION");
                tracing::info!(service = name, version, allocator = allocator::NAME, "starting");
                if let Err(error) = memory::keep_private() {
                    tracing::warn!(
                        error = error.to_string(),
                        "a crash could leave a core dump with clear text and keys"
                    );
                }
                let result = live(common, admin_address, telemetry.metrics.clone(), service).await;
                let code = exit_code(result);
                telemetry.flush().await;
                code
            }
            Err(error) => exit_code(Err(error)),
        }
    });
    // A look-up that hangs in the system's resolver must not delay the end of the process.
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    code
}

async fn live<F>(
    common: &CommonSettings,
    admin_address: SocketAddr,
    metrics: MetricsHandle,
    service: F,
) -> anyhow::Result<()>
where
    F: AsyncFnOnce(Lifecycle) -> anyhow::Result<()>,
{
    let life = Lifecycle::new();
    let signals = Signals::install()?;
    let admin = Admin::bind(admin_address, life.clone(), metrics).await?;
    let work = async {
        let result = service(life.clone()).await;
        life.start_drain();
        life.tasks_ended().await;
        result
    };
    tokio::select! {
        result = work => result?,
        never = admin.serve() => match never? {},
        stopped = signals.supervise(&life, common.grace_period) => return stopped,
    }
    anyhow::ensure!(!life.has_failed(), "a task failed");
    tracing::info!("drained");
    Ok(())
}

fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    tracing::error!(error = format!("{error:#}"), "stopped");
    if error.downcast_ref::<BadSettings>().is_some() { ExitCode::from(2) } else { ExitCode::FAILURE }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn install() -> anyhow::Result<Self> {
        let install = |kind| signal(kind).context("cannot install a signal handler");
        Ok(Self {
            terminate: install(SignalKind::terminate())?,
            interrupt: install(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Turns signals and the grace period into drain and abort; resolves only when the process must end at
    /// once.
    async fn supervise(mut self, life: &Lifecycle, grace_period: Duration) -> anyhow::Result<()> {
        tokio::select! {
            () = self.next() => tracing::info!("draining; a second signal ends at once"),
            () = life.draining() => {}
        }
        life.start_drain();
        let margin = (grace_period / 5).min(Duration::from_secs(5));
        let patience = async {
            tokio::time::sleep(grace_period.saturating_sub(margin)).await;
            tracing::warn!("grace period nearly over; releasing unfinished work");
            life.start_abort();
            tokio::time::sleep(margin).await;
        };
        tokio::select! {
            () = patience => anyhow::bail!("grace period over"),
            () = self.next() => anyhow::bail!("ended by a second signal"),
        }
    }
}
