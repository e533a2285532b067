//! A throw-away Postgres, shared by the tests that run at the same time.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tempfile::TempDir;

static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

pub(crate) struct Cluster {
    home: TempDir,
    postgres: Child,
    port: u16,
}

impl Cluster {
    /// The cluster that other tests use, or a new one; it stops with its last user.
    pub(crate) fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let cluster = Arc::new(Self::start());
            *shared = Arc::downgrade(&cluster);
            cluster
        })
    }

    fn start() -> Self {
        let home = TempDir::with_prefix("veilpost-writer-tests-").unwrap();
        if let Some((user, group)) = other_user() {
            std::os::unix::fs::chown(home.path(), Some(user), Some(group)).unwrap();
        }
        let data = home.path().join("data");
        let made = command("initdb")
            .args(["--no-sync", "-A", "trust", "-U", "admin", "-E", "UTF8", "-D"])
            .arg(&data)
            .output();
        let made = made.expect("initdb is on the PATH or in /usr/lib/postgresql/*/bin");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port = free_port();
        let log = File::create(home.path().join("log")).unwrap();
        let settings = format!(
            "fsync=off\nlisten_addresses='127.0.0.1'\nport={port}\nunix_socket_directories=''\nmax_connections=200\n\
             log_min_messages=error\n"
        );
        std::fs::write(data.join("postgresql.auto.conf"), settings).unwrap();
        let postgres = command("postgres").arg("-D").arg(&data).stderr(log).spawn().unwrap();
        let cluster = Self { home, postgres, port };
        cluster.wait_until_up();
        cluster
    }

    fn wait_until_up(&self) {
        for _ in 0..600 {
            let up =
                command("pg_isready").args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]).status();
            if up.is_ok_and(|status| status.success()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("Postgres did not come up: {}", self.log());
    }

    pub(crate) fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{database}", self.port)
    }

    /// Everything that Postgres has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let data: PathBuf = self.home.path().join("data");
        let stopped =
            command("pg_ctl").args(["stop", "-s", "-w", "-m", "immediate", "-D"]).arg(data).status();
        if !stopped.is_ok_and(|status| status.success()) {
            self.postgres.kill().unwrap_or_default();
        }
        self.postgres.wait().map(|_| ()).unwrap_or_default();
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Where Debian keeps the server's programs, which it does not put on the PATH.
fn newest_installation() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let installed = versions.filter(|version| version.path().join("bin/initdb").is_file());
    let newest = installed
        .max_by_key(|version| version.file_name().to_str().and_then(|version| version.parse::<u32>().ok()))?;
    Some(newest.path().join("bin"))
}

/// Postgres refuses to run as root.
fn command(program: &str) -> Command {
    let installed = newest_installation().map(|bin| bin.join(program)).filter(|_| !is_on_path(program));
    let mut command = Command::new(installed.unwrap_or_else(|| program.into()));
    if let Some((user, group)) = other_user() {
        command.uid(user).gid(group).current_dir("/");
    }
    command
}

/// User and group to run as when this is root.
fn other_user() -> Option<(u32, u32)> {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        let fields: Vec<&str> =
            users.lines().find(|line| line.starts_with(&format!("{name}:")))?.split(':').collect();
        Some((fields[2].parse().ok()?, fields[3].parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody"))
}
