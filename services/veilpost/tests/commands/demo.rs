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
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_veilpost"));
        command.arg("demo").args(arguments).env("TMPDIR", directory.path());
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
