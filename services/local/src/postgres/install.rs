//! Installs Postgres's programs where no question is needed: as root, with apt.

use std::path::Path;
use std::process::Stdio;

use anyhow::Context;
use tokio::process::Command;

use super::Programs;
use crate::process::Child;

const HOW_TO: &str = "Postgres's programs (initdb, postgres) are not on this machine: install them (Debian, Ubuntu: \
    `apt-get install postgresql`; Fedora: `dnf install postgresql-server`; macOS: `brew install postgresql`) or give \
    --database-url";

/// Shell functions, which the test runners use too.
const INSTALL: &str = include_str!("install.sh");

/// Finds the programs, or installs them after a line to `say`. Where that fails, the error says in one line
/// what to install.
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

/// apt's own output goes to standard error: it takes a while, and a person wants to see that something
/// happens.
async fn install() -> anyhow::Result<()> {
    let script = format!("set -euo pipefail\n{INSTALL}\ninstall_postgres veilpost");
    let mut command = Command::new("bash");
    command.arg("-c").arg(script).stdin(Stdio::null()).stdout(std::io::stderr());
    let status = Child::start("bash", &mut command)?.wait().await?;
    anyhow::ensure!(status.success(), "the installation failed ({status})");
    Ok(())
}
