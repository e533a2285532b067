//! Installs Postgres's programs where that can be done without asking: as root, with apt.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;
use tokio::process::Command;

use super::Programs;
use crate::process::Child;

const HOW_TO: &str = "Postgres's programs (initdb, postgres) are not on this machine: install them (Debian, Ubuntu: \
    `apt-get install postgresql`; Fedora: `dnf install postgresql-server`; macOS: `brew install postgresql`) or give \
    --database-url";

/// Debian's package makes and starts a cluster of its own unless told not to.
const NO_CLUSTER: (&str, &str) =
    ("/etc/postgresql-common/createcluster.d/veilpost.conf", "create_main_cluster = false\n");

/// Finds the programs, or installs them; `say` gets one line before it does. What cannot be installed is an
/// error that says in one line what to do.
pub async fn find_or_install(say: impl Fn(&str)) -> anyhow::Result<Programs> {
    if let Some(found) = Programs::find() {
        return Ok(found);
    }
    anyhow::ensure!(rustix::process::geteuid().is_root() && has_apt(), HOW_TO);
    say("Postgres's programs are not on this machine; installing Debian's package postgresql");
    install().await.context(HOW_TO)?;
    Programs::find().context(HOW_TO)
}

fn has_apt() -> bool {
    Path::new("/usr/bin/apt-get").exists()
}

async fn install() -> anyhow::Result<()> {
    let _no_cluster = NoCluster::set()?;
    let install = ["install", "--yes", "--no-install-recommends", "postgresql"];
    if apt_get(&install).await.is_err() {
        apt_get(&["update"]).await?;
        apt_get(&install).await?;
    }
    Ok(())
}

/// apt's own output goes to standard error: it takes a while, and a person wants to see that something happens.
async fn apt_get(arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("apt-get");
    command.args(["-o", "DPkg::Lock::Timeout=120", "-o", "APT::Color=0", "--quiet=1"]).args(arguments);
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).stdout(std::io::stderr());
    let status = Child::start("apt-get", &mut command)?.wait().await?;
    anyhow::ensure!(status.success(), "apt-get {} failed ({status})", arguments.join(" "));
    Ok(())
}

/// Keeps the package from making a cluster, for as long as it lives.
struct NoCluster {
    file: Option<PathBuf>,
}

impl NoCluster {
    fn set() -> anyhow::Result<Self> {
        let (file, text) = NO_CLUSTER;
        let file = PathBuf::from(file);
        if file.exists() {
            return Ok(Self { file: None });
        }
        std::fs::create_dir_all(file.parent().unwrap_or(Path::new("/")))?;
        std::fs::write(&file, text)?;
        Ok(Self { file: Some(file) })
    }
}

impl Drop for NoCluster {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            std::fs::remove_file(file).ok();
        }
    }
}
