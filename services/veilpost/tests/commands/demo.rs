//! The demo as a person runs it.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{ChildStderr, Command};
use veilpost_local::process::Child;

const PATIENCE: Duration = Duration::from_mins(10);

/// A running demo whose temporary files are all in one directory.
struct Demo {
    directory: TempDir,
    child: Child,
    stderr: Lines<BufReader<ChildStderr>>,
    stdout: tokio::process::ChildStdout,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &std::env::var("PATH").unwrap())
    }

    /// Programs are taken from `path`.
    fn start_with(arguments: &[&str], path: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_veilpost"));
        command.arg("demo").args(arguments).env("TMPDIR", directory.path()).env("PATH", path);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Child::start("demo", &mut command).unwrap();
        let (stdout, stderr) = child.take_output().unwrap();
        Self { directory, child, stderr: BufReader::new(stderr).lines(), stdout }
    }

    /// Reads what it says until a line contains `text`.
    async fn says(&mut self, text: &str) -> String {
        let mut said = Vec::new();
        let line = async {
            while let Some(line) = self.stderr.next_line().await.unwrap() {
                if line.contains(text) {
                    return line;
                }
                said.push(line);
            }
            panic!("the demo ended before it said {text:?}; it said {said:#?}");
        };
        tokio::time::timeout(PATIENCE, line).await.unwrap()
    }

    /// The admin address of the service whose line is next.
    async fn admin(&mut self, service: &str) -> SocketAddr {
        let line = self.says(&format!("{service} ")).await;
        let (_, address) = line.split_once("http://").unwrap();
        address.trim_end_matches("/metrics").parse().unwrap()
    }

    /// Waits for the end and returns the exit status and everything that it says from now on.
    async fn fails(&mut self) -> (Option<i32>, String) {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        let mut said = String::new();
        while let Some(line) = self.stderr.next_line().await.unwrap() {
            said.push_str(&line);
            said.push('\n');
        }
        (status.code(), said)
    }

    /// The process that runs `service`.
    fn service(&self, service: &str) -> i32 {
        let is_service = |pid: &i32| {
            let read =
                |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
            let parent = read("stat").rsplit_once(')').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
            parent.split_whitespace().nth(1) == Some(&self.child.pid().to_string())
                && read("cmdline").split('\0').nth(1) == Some(service)
        };
        let names = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
        let mut pids = names.filter_map(|name| name.to_str()?.parse().ok());
        pids.find(is_service).unwrap()
    }

    async fn ends(mut self) -> (Option<i32>, String, TempDir) {
        let mut output = String::new();
        self.stdout.read_to_string(&mut output).await.unwrap();
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        (status.code(), output, self.directory)
    }
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}

#[tokio::test]
async fn every_one_of_a_hundred_messages_is_accounted_for() {
    let (status, output, directory) = Demo::start(&["--json"]).ends().await;
    assert_eq!(status, Some(0));
    let report: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert_eq!(report["sent"], 100);
    assert_eq!(report["stored"], 90);
    assert_eq!(report["dead_lettered"], 10);
    assert_eq!(report["rejected"]["not-json"], 3);
    assert!(is_empty(directory.path()));
}

#[tokio::test]
async fn a_signal_in_the_middle_leaves_nothing_behind() {
    let mut demo = Demo::start(&["--messages", "100000"]);
    let mut admins = Vec::new();
    for service in ["reader", "masker", "writer"] {
        admins.push(demo.admin(service).await);
    }
    for admin in &admins {
        tokio::net::TcpStream::connect(admin).await.unwrap();
    }
    demo.child.terminate();

    let (status, output, directory) = demo.ends().await;
    assert_eq!(status, Some(130));
    assert_eq!(output, "");
    assert!(is_empty(directory.path()));
    for admin in admins {
        assert!(tokio::net::TcpStream::connect(admin).await.is_err(), "a service is still there");
    }
}

/// The path after `text`, to the end of the line.
fn path_after<'a>(text: &str, said: &'a str) -> &'a Path {
    let (_, rest) = said.split_once(text).unwrap_or_else(|| panic!("no {text:?} in {said}"));
    Path::new(rest.lines().next().unwrap())
}

#[tokio::test]
async fn a_service_that_dies_is_named_and_all_logs_are_kept() {
    let mut demo = Demo::start(&["--messages", "100000"]);
    demo.admin("writer").await;
    let killed = Command::new("kill").arg("-9").arg(demo.service("writer").to_string()).status();
    assert!(killed.await.unwrap().success());
    let (status, said) = demo.fails().await;
    assert_eq!(status, Some(1));
    assert!(said.contains("writer ended (signal: 9"), "{said}");
    let logs = path_after("The logs are in ", &said);
    for log in ["reader.log", "masker.log", "writer.log", "postgres.log"] {
        assert!(logs.join(log).metadata().unwrap().len() > 0, "{log} is missing in {}", logs.display());
    }
}

#[tokio::test]
async fn a_postgres_that_cannot_be_reached_is_the_cause_that_is_named() {
    let mut demo = Demo::start(&["--database-url", "postgres://nobody@127.0.0.1:1/none"]);
    let (status, said) = demo.fails().await;
    assert_eq!(status, Some(1));
    assert!(said.contains("cannot connect to Postgres"), "{said}");
    assert!(is_empty(demo.directory.path()));
}

#[tokio::test]
async fn a_postgres_that_does_not_start_shows_its_log_and_keeps_it() {
    let programs = tempfile::tempdir().unwrap();
    std::fs::set_permissions(programs.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    for program in ["initdb", "postgres"] {
        let file = programs.path().join(program);
        std::fs::write(&file, "#!/bin/sh\necho 'no space left on device'\nexit 1\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", programs.path().display(), std::env::var("PATH").unwrap());
    let mut demo = Demo::start_with(&[], &path);
    let (status, said) = demo.fails().await;
    assert_eq!(status, Some(1));
    assert!(said.contains("initdb failed") && said.contains("no space left on device"), "{said}");
    let (_, rest) = said.split_once("kept in ").unwrap();
    let kept = std::fs::read_to_string(rest.split(", ends:").next().unwrap()).unwrap();
    assert!(kept.contains("no space left on device"));
}
