//! A throw-away Postgres server: made in a temporary directory, removed when dropped.

use std::fs::{File, Permissions};
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
use crate::process::{Child, free_port, log_tail};

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
    port: u16,
    pub(super) cluster: Cluster,
}

/// How a server differs from the usual one.
#[derive(Clone, Copy, Debug)]
pub struct PostgresOptions<'a> {
    /// The method of authentication for all roles, as in pg_hba.conf.
    pub authentication: &'a str,
    /// Further settings, each as `name=value`.
    pub settings: &'a [&'a str],
}

/// What a server is started from.
pub(super) struct Cluster {
    pub(super) programs: Programs,
    pub(super) user: Option<User>,
    pub(super) password: String,
    pub(super) settings: Vec<String>,
    pub(super) directory: TempDir,
}

impl Default for PostgresOptions<'_> {
    fn default() -> Self {
        Self { authentication: "scram-sha-256", settings: &[] }
    }
}

impl ThrowAwayPostgres {
    pub async fn start(programs: Programs) -> anyhow::Result<Self> {
        Self::start_with(programs, PostgresOptions::default()).await
    }

    pub async fn start_with(programs: Programs, options: PostgresOptions<'_>) -> anyhow::Result<Self> {
        Self::start_cluster(Cluster::create(programs, options).await?).await
    }

    pub(super) async fn start_cluster(cluster: Cluster) -> anyhow::Result<Self> {
        let mut tries = 1;
        loop {
            let port = free_port()?;
            match cluster.start(port).await {
                Ok(server) => return Ok(Self { server, port, cluster }),
                Err(error) if tries == MAX_TRIES => anyhow::bail!(cluster.failure(&format!("{error:#}"))),
                Err(_) => tries += 1,
            }
        }
    }

    /// The URL for the superuser `postgres`, with its password.
    pub fn url(&self) -> String {
        self.url_of("postgres", "postgres")
    }

    /// The URL for another role. It has the superuser's password, so the role needs the same one or no
    /// password.
    pub fn url_of(&self, role: &str, database: &str) -> String {
        self.cluster.url(self.port, role, database)
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
        self.cluster.directory.path()
    }

    /// The file that the server logs to.
    pub fn log_file(&self) -> PathBuf {
        self.cluster.log_file()
    }

    /// For sending signals.
    pub fn server(&mut self) -> &mut Child {
        &mut self.server
    }

    /// Stops the server in fast mode. The data stays until this value is dropped.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.server.interrupt();
        let status =
            timeout(STOP_PATIENCE, self.server.wait()).await.context("Postgres did not stop in time")??;
        anyhow::ensure!(status.success(), "Postgres stopped with {status}");
        Ok(())
    }

    /// Stops the server in immediate mode, from which it recovers at its next start.
    pub async fn crash(&mut self) -> anyhow::Result<()> {
        self.server.quit();
        timeout(STOP_PATIENCE, self.server.wait()).await.context("Postgres did not crash in time")??;
        Ok(())
    }

    /// Starts the server again on the same port and data, after [`Self::stop`], [`Self::crash`] or a kill.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        self.server.wait().await?;
        let started = self.cluster.start(self.port).await;
        self.server =
            started.map_err(|error| anyhow::anyhow!(self.cluster.failure(&format!("{error:#}"))))?;
        Ok(())
    }
}

impl Drop for ThrowAwayPostgres {
    fn drop(&mut self) {
        self.server.interrupt();
        self.server.wait_blocking(STOP_PATIENCE);
    }
}

impl Cluster {
    /// Runs `initdb` in a new directory, as a user that Postgres may run as.
    async fn create(programs: Programs, options: PostgresOptions<'_>) -> anyhow::Result<Self> {
        let user = User::other_than_root()?;
        let directory = tempfile::Builder::new().prefix("veilpost-postgres-").tempdir()?;
        let password = format!("{:032x}", rand::rng().random::<u128>());
        let settings = options.settings.iter().map(ToString::to_string).collect();
        let cluster = Self { programs, user, password, settings, directory };
        cluster.keep_private(cluster.directory.path(), 0o700)?;
        cluster.initdb(options.authentication).await?;
        Ok(cluster)
    }

    /// Gives a file to the user that Postgres runs as, and closes it to others.
    pub(super) fn keep_private(&self, path: &Path, mode: u32) -> anyhow::Result<()> {
        if let Some(User { uid, gid }) = self.user {
            chown(path, Some(uid), Some(gid))?;
        }
        Ok(std::fs::set_permissions(path, Permissions::from_mode(mode))?)
    }

    async fn initdb(&self, authentication: &str) -> anyhow::Result<()> {
        let password_file = self.directory.path().join("password");
        std::fs::write(&password_file, &self.password)?;
        self.keep_private(&password_file, 0o600)?;
        let mut command = self.command(&self.programs.initdb())?;
        command.arg("--pgdata").arg(self.data()).arg("--pwfile").arg(&password_file);
        command.arg("--auth").arg(authentication).args(["--username=postgres", "--encoding=UTF8"]);
        command.args(["--no-locale", "--no-sync"]);
        let status = Child::start("initdb", &mut command)?.wait().await?;
        std::fs::remove_file(&password_file)?;
        anyhow::ensure!(status.success(), self.failure(&format!("initdb failed ({status})")));
        Ok(())
    }

    /// Starts the server and waits until it answers. An error does not have the log yet.
    async fn start(&self, port: u16) -> anyhow::Result<Child> {
        let mut command = self.command(&self.programs.postgres())?;
        command.arg("-D").arg(self.data()).arg("-k").arg(self.directory.path());
        command.args(["-h", "127.0.0.1", "-p", &port.to_string()]);
        let usual = ["track_commit_timestamp=on", "logging_collector=off"];
        for setting in usual.into_iter().chain(self.settings.iter().map(String::as_str)) {
            command.args(["-c", setting]);
        }
        let mut server = Child::start("postgres", &mut command)?;
        let until = Instant::now() + START_PATIENCE;
        while let Err(error) = self.connect(port).await {
            if let Some(status) = server.ended() {
                anyhow::bail!("Postgres ended at start ({status})");
            }
            anyhow::ensure!(Instant::now() < until, "Postgres does not answer: {error}");
            sleep(POLL_INTERVAL).await;
        }
        Ok(server)
    }

    /// What went wrong, with the end of the log, and where the whole log is kept.
    fn failure(&self, what: &str) -> String {
        let end = log_tail(&self.log_file());
        match self.keep_log() {
            Ok(kept) => format!("{what}; its log, kept in {}, ends:\n{end}", kept.display()),
            Err(_) => format!("{what}; its log ends:\n{end}"),
        }
    }

    /// Copies the log to where it outlives this cluster.
    fn keep_log(&self) -> anyhow::Result<PathBuf> {
        let kept = tempfile::Builder::new().prefix("veilpost-postgres-").suffix(".log").tempfile()?;
        std::fs::copy(self.log_file(), kept.path())?;
        Ok(kept.keep()?.1)
    }

    async fn connect(&self, port: u16) -> Result<(), sqlx::Error> {
        PgConnection::connect(&self.url(port, "postgres", "postgres")).await?.close().await
    }

    /// A command that logs into the directory and runs in it: the caller's working directory may be closed to
    /// the user that Postgres runs as.
    fn command(&self, program: &Path) -> anyhow::Result<Command> {
        let log = File::options().create(true).append(true).open(self.log_file())?;
        let mut command = Command::new(program);
        command.current_dir(self.directory.path()).env("LC_ALL", "C");
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        if let Some(user) = self.user {
            user.on(&mut command);
        }
        Ok(command)
    }

    fn url(&self, port: u16, role: &str, database: &str) -> String {
        format!("postgres://{role}:{}@127.0.0.1:{port}/{database}?sslmode=disable", self.password)
    }

    pub(super) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("postgres.log")
    }
}

/// Never shows the password.
impl std::fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Cluster").field("directory", &self.directory).finish_non_exhaustive()
    }
}
