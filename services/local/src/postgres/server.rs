//! A throw-away Postgres server: made in a temporary directory, removed when dropped.

use std::fs::{File, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use rand::RngExt;
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use super::programs::Programs;
use super::user::User;
use crate::process::Child;

const START_PATIENCE: Duration = Duration::from_secs(30);
const STOP_PATIENCE: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(30);

/// Another process may take the free port before Postgres does.
const MAX_TRIES: usize = 3;

/// A running server on loopback with a random password and `fsync` on. Dropping it stops the server in fast
/// mode, waits for its end and removes its directory.
#[derive(Debug)]
pub struct ThrowAwayPostgres {
    server: Child,
    programs: Programs,
    user: Option<User>,
    port: u16,
    password: String,
    directory: TempDir,
}

impl ThrowAwayPostgres {
    pub async fn start(programs: Programs) -> anyhow::Result<Self> {
        let user = User::other_than_root()?;
        let directory = private_directory(user)?;
        let password = format!("{:032x}", rand::rng().random::<u128>());
        initdb(&programs, user, directory.path(), &password).await?;
        let mut tries = 1;
        loop {
            let port = free_port()?;
            let started = start_server(&programs, user, directory.path(), port, &password).await;
            match started {
                Ok(server) => return Ok(Self { server, programs, user, port, password, directory }),
                Err(error) if tries == MAX_TRIES => return Err(error),
                Err(_) => tries += 1,
            }
        }
    }

    /// The URL for the superuser `postgres`, with its password.
    pub fn url(&self) -> String {
        url(self.port, &self.password)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The postmaster's process id.
    pub fn pid(&self) -> i32 {
        self.server.pid()
    }

    /// The directory that holds all files of the server, its log included.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// For sending signals.
    pub fn server(&mut self) -> &mut Child {
        &mut self.server
    }

    /// Stops the server in fast mode; the data stays until this value is dropped.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.server.interrupt();
        let status =
            timeout(STOP_PATIENCE, self.server.wait()).await.context("Postgres did not stop in time")??;
        anyhow::ensure!(status.success(), "Postgres stopped with {status}");
        Ok(())
    }

    /// Stops the server in immediate mode, which it recovers from when it starts again.
    pub async fn crash(&mut self) -> anyhow::Result<()> {
        self.server.quit();
        timeout(STOP_PATIENCE, self.server.wait()).await.context("Postgres did not crash in time")??;
        Ok(())
    }

    /// Starts the server again on the same port and data, after [`Self::stop`], [`Self::crash`] or a kill.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        self.server.wait().await?;
        self.server =
            start_server(&self.programs, self.user, self.directory.path(), self.port, &self.password).await?;
        Ok(())
    }
}

impl Drop for ThrowAwayPostgres {
    fn drop(&mut self) {
        self.server.interrupt();
        self.server.wait_blocking(STOP_PATIENCE);
    }
}

/// The directory belongs to the user that Postgres runs as, and is closed to others.
fn private_directory(user: Option<User>) -> anyhow::Result<TempDir> {
    let directory = tempfile::Builder::new().prefix("veilpost-postgres-").tempdir()?;
    if let Some(User { uid, gid }) = user {
        chown(directory.path(), Some(uid), Some(gid))?;
    }
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o700))?;
    Ok(directory)
}

async fn initdb(
    programs: &Programs,
    user: Option<User>,
    directory: &Path,
    password: &str,
) -> anyhow::Result<()> {
    let password_file = directory.join("password");
    std::fs::write(&password_file, password)?;
    std::fs::set_permissions(&password_file, Permissions::from_mode(0o600))?;
    if let Some(User { uid, gid }) = user {
        chown(&password_file, Some(uid), Some(gid))?;
    }
    let mut command = command(&programs.initdb(), user, directory)?;
    command.arg("--pgdata").arg(data(directory)).arg("--pwfile").arg(&password_file);
    command.args([
        "--username=postgres",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--no-locale",
        "--no-sync",
    ]);
    let status = Child::start("initdb", &mut command)?.wait().await?;
    std::fs::remove_file(&password_file)?;
    anyhow::ensure!(status.success(), "initdb failed ({status}):\n{}", log_tail(directory));
    Ok(())
}

async fn start_server(
    programs: &Programs,
    user: Option<User>,
    directory: &Path,
    port: u16,
    password: &str,
) -> anyhow::Result<Child> {
    let mut command = command(&programs.postgres(), user, directory)?;
    command.arg("-D").arg(data(directory)).arg("-k").arg(directory).args([
        "-h",
        "127.0.0.1",
        "-p",
        &port.to_string(),
    ]);
    command.args(["-c", "track_commit_timestamp=on", "-c", "logging_collector=off"]);
    let mut server = Child::start("postgres", &mut command)?;
    let until = Instant::now() + START_PATIENCE;
    while let Err(error) = connect(port, password).await {
        if let Some(status) = server.ended() {
            anyhow::bail!("Postgres ended at start ({status}):\n{}", log_tail(directory));
        }
        anyhow::ensure!(Instant::now() < until, "Postgres does not answer: {error}");
        sleep(POLL_INTERVAL).await;
    }
    Ok(server)
}

async fn connect(port: u16, password: &str) -> Result<(), sqlx::Error> {
    PgConnection::connect(&url(port, password)).await?.close().await
}

/// Programs log into the directory and run in it: the caller's working directory may be closed to their user.
fn command(program: &Path, user: Option<User>, directory: &Path) -> anyhow::Result<Command> {
    let log = File::options().create(true).append(true).open(log(directory))?;
    let mut command = Command::new(program);
    command.current_dir(directory).env("LC_ALL", "C");
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    if let Some(user) = user {
        user.on(&mut command);
    }
    Ok(command)
}

fn url(port: u16, password: &str) -> String {
    format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres?sslmode=disable")
}

fn data(directory: &Path) -> PathBuf {
    directory.join("data")
}

fn log(directory: &Path) -> PathBuf {
    directory.join("postgres.log")
}

fn log_tail(directory: &Path) -> String {
    crate::process::log_tail(&log(directory))
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
