//! A throw-away PgBouncer before a Postgres.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Command;
use veilpost_local::process::{Child, free_port};

use crate::eventually;

const HOW_TO: &str = "PgBouncer is not on this machine: install your system's package, such as pgbouncer (Debian, \
                      Fedora, Homebrew); tests/run does it by itself where it may";

/// A running pooler. Dropping it kills it.
#[derive(Debug)]
pub struct PgBouncer {
    port: u16,
    directory: TempDir,
    _process: Child,
}

impl PgBouncer {
    /// Starts a pooler in pool mode `pool_mode`, before the Postgres at this port of 127.0.0.1, to which
    /// everybody logs in as `role` without a password.
    ///
    /// # Errors
    ///
    /// When there is no PgBouncer on this machine, or it does not start.
    pub async fn start(pool_mode: &str, postgres: u16, role: &str) -> anyhow::Result<Self> {
        let program = program().context(HOW_TO)?;
        let directory = tempfile::Builder::new().prefix("veilpost-pgbouncer-").tempdir()?;
        // It does not run as root, and its other user must read the file.
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
        let port = free_port()?;
        let file = directory.path().join("pgbouncer.ini");
        std::fs::write(&file, settings(pool_mode, port, postgres, role))?;
        std::fs::set_permissions(&file, Permissions::from_mode(0o644))?;
        let log = std::fs::File::create(directory.path().join("pgbouncer.log"))?;
        let mut command = Command::new(program);
        if std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
            command.args(["-u", "nobody"]);
        }
        command.arg(&file).current_dir(directory.path());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = Child::start("pgbouncer", &mut command)?;
        let pooler = Self { port, directory, _process: process };
        let listens = async || match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{error}; its log: {}", pooler.log())),
        };
        eventually("PgBouncer listens", listens).await?;
        Ok(pooler)
    }

    /// The URL for a database of that Postgres.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://anybody@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("pgbouncer.log")).unwrap_or_default()
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let known = ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin", "/usr/local/bin"].map(PathBuf::from);
    let mut all = std::env::split_paths(&path).chain(known);
    all.find(|directory| is_there(directory)).map(|directory| directory.join("pgbouncer"))
}

fn is_there(directory: &Path) -> bool {
    directory.join("pgbouncer").is_file()
}

fn settings(pool_mode: &str, port: u16, postgres: u16, role: &str) -> String {
    format!(
        "[databases]\n* = host=127.0.0.1 port={postgres} user={role}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
         listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {pool_mode}\n\
         default_pool_size = 20\nserver_tls_sslmode = disable\n"
    )
}
