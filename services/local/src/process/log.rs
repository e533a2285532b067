//! The services' JSON log lines.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::Path;

use serde::Deserialize;

/// The fields of a log line that are read; others are ignored.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct LogLine {
    pub message: String,
    #[serde(default)]
    pub level: String,
    /// The cause that a line about a failure names.
    #[serde(default)]
    pub error: Option<String>,
    /// The port that a "listening" line names.
    #[serde(default)]
    pub port: Option<String>,
    #[serde(default)]
    pub address: Option<SocketAddr>,
}

impl LogLine {
    /// None for a line that is not a JSON object with a message, such as a panic's.
    pub fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }

    pub(crate) fn listening(&self, port: &str) -> Option<SocketAddr> {
        (self.message == "listening" && self.port.as_deref() == Some(port)).then_some(self.address).flatten()
    }
}

/// The complete lines from byte `start` on.
pub(crate) fn lines(file: &Path, start: u64) -> std::io::Result<Vec<String>> {
    let mut file = File::open(file)?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
    Ok(complete.lines().map(str::to_owned).collect())
}

/// The last `count` different warnings and errors, oldest first, each with its cause.
pub(crate) fn problems(file: &Path, start: u64, count: usize) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in lines(file, start).unwrap_or_default().iter().filter_map(|line| LogLine::parse(line)) {
        if matches!(line.level.as_str(), "WARN" | "ERROR") {
            let problem =
                line.error.map_or(line.message.clone(), |error| format!("{}: {error}", line.message));
            found.retain(|known| *known != problem);
            found.push(problem);
        }
    }
    found.split_off(found.len().saturating_sub(count))
}

/// The last few lines of a log, for a person who wants to know why a service ended.
pub(crate) fn tail(file: &Path, start: u64, count: usize) -> String {
    let lines = lines(file, start).unwrap_or_default();
    let skipped = lines.len().saturating_sub(count);
    lines.iter().skip(skipped).flat_map(|line| ["  ", line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_line_gives_port_and_address() {
        let line = r#"{"timestamp":"2026-11-22T10:00:00Z","level":"INFO","message":"listening","port":"grpc","address":"127.0.0.1:50051","target":"veilpost_runtime"}"#;
        let line = LogLine::parse(line).unwrap();
        assert_eq!(line.listening("grpc"), Some("127.0.0.1:50051".parse().unwrap()));
        assert_eq!(line.listening("admin"), None);
    }

    #[test]
    fn problems_are_the_last_different_warnings_and_errors_with_their_causes() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("log");
        let line =
            |level, message| format!("{{\"level\":\"{level}\",\"message\":\"{message}\",\"error\":\"e\"}}\n");
        let log =
            [("WARN", "one"), ("INFO", "two"), ("ERROR", "three"), ("WARN", "four"), ("ERROR", "three")];
        std::fs::write(&file, log.map(|(level, message)| line(level, message)).concat()).unwrap();
        assert_eq!(problems(&file, 0, 2), ["four: e", "three: e"]);
        assert_eq!(problems(&file, 0, 9), ["one: e", "four: e", "three: e"]);
    }

    #[test]
    fn other_lines_give_no_address() {
        let line = LogLine::parse(r#"{"level":"INFO","message":"ready","extra":{"deep":[1]}}"#).unwrap();
        assert_eq!(line.message, "ready");
        assert_eq!(line.listening("grpc"), None);
        assert_eq!(LogLine::parse("thread 'main' panicked at src/main.rs"), None);
    }

    #[test]
    fn a_line_that_is_still_being_written_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("log");
        std::fs::write(&file, "one\ntwo\nthr").unwrap();
        assert_eq!(lines(&file, 0).unwrap(), ["one", "two"]);
        assert_eq!(tail(&file, 0, 1), "  two\n");
        assert_eq!(lines(&file, 4).unwrap(), ["two"]);
    }
}
