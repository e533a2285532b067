//! One replica of a service, that can be killed, hung, terminated and started again at the same address.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use tokio::time::timeout;
use veilpost_local::certificates::Role;
use veilpost_local::process::{ServiceCommand, ServiceProcess};

/// How long a service may take from SIGTERM to its end: longer than its own grace period.
const DRAIN: Duration = Duration::from_secs(35);

/// A running replica; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Replica {
    role: Role,
    command: ServiceCommand,
    /// Where it listens for its upstream; readers listen nowhere.
    address: Option<SocketAddr>,
    directory: PathBuf,
    service: ServiceProcess,
    peak_memory: u64,
}

impl Replica {
    /// Starts it and waits until it listens.
    pub(crate) async fn start(role: Role, command: ServiceCommand, directory: &Path) -> anyhow::Result<Self> {
        tokio::fs::create_dir_all(directory).await?;
        let first = listening(&command, role, SocketAddr::from(([127, 0, 0, 1], 0)));
        let mut service = first.start(directory)?;
        let address = match role {
            Role::Reader => None,
            Role::Masker | Role::Writer => Some(service.grpc_address().await?),
        };
        Ok(Self { role, command, address, directory: directory.to_owned(), service, peak_memory: 0 })
    }

    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        self.address.context("readers listen nowhere")
    }

    pub(crate) async fn ready(&mut self) -> anyhow::Result<()> {
        self.service.ready().await
    }

    /// How much it has in hand: what a blow to it breaks. Nothing where it does not answer.
    pub(crate) async fn load(&mut self) -> u64 {
        let Ok(metrics) = self.service.metrics().await else { return 0 };
        let name = match self.role {
            Role::Reader => "veilpost_reader_in_flight_messages",
            Role::Masker => "veilpost_link_open_streams",
            Role::Writer => "veilpost_writer_streams",
        };
        let load = metrics.sum(name, &[]);
        u64::from(load >= 1.0)
    }

    /// Ends it as a crash would; it must still have been there.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        self.ensure_running()?;
        self.note_memory();
        self.service.child().kill();
        self.service.child().wait().await?;
        Ok(())
    }

    pub(crate) fn hang(&mut self) -> anyhow::Result<()> {
        self.ensure_running()?;
        self.service.child().pause();
        Ok(())
    }

    pub(crate) fn resume(&mut self) {
        self.service.child().resume();
    }

    /// SIGTERM; it must end in time and with status 0.
    pub(crate) async fn terminate(&mut self) -> anyhow::Result<()> {
        self.ensure_running()?;
        self.note_memory();
        let status = self.service.stop(DRAIN).await?;
        anyhow::ensure!(status.success(), "{} ended with {status} after SIGTERM", self.service.name());
        Ok(())
    }

    /// Starts it again where it was. It need not be ready yet: what it needs may be broken.
    pub(crate) async fn start_again(&mut self) -> anyhow::Result<()> {
        let command = match self.address {
            Some(address) => listening(&self.command, self.role, address),
            None => self.command.clone(),
        };
        self.service = command.start(&self.directory)?;
        if self.address.is_some() {
            timeout(DRAIN, self.service.admin_address()).await.context("not started in time")??;
        }
        Ok(())
    }

    pub(crate) fn ensure_running(&mut self) -> anyhow::Result<()> {
        self.service.ensure_running()
    }

    /// The most memory of all its lives, in bytes.
    pub(crate) fn peak_memory(&mut self) -> u64 {
        self.note_memory();
        self.peak_memory
    }

    fn note_memory(&mut self) {
        self.peak_memory = self.peak_memory.max(self.service.peak_memory().unwrap_or_default());
    }
}

fn listening(command: &ServiceCommand, role: Role, address: SocketAddr) -> ServiceCommand {
    match role {
        Role::Reader => command.clone(),
        Role::Masker | Role::Writer => command.clone().arg("--listen-address", address.to_string()),
    }
}
