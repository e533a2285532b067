//! Where figures are from: commit, machine, versions, sizes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use veilpost_local::output::grouped;

use crate::testbed::Testbed;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// What was checked out; empty outside of a repository.
    pub(crate) commit: String,
    /// Whether something that is measured was changed since.
    pub(crate) changed: bool,
    pub(crate) date: String,
    pub(crate) machine: Machine,
    pub(crate) versions: BTreeMap<String, String>,
    /// How much was measured.
    pub(crate) sizes: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: u64,
    pub(crate) memory_mib: u64,
    pub(crate) system: String,
    pub(crate) kernel: String,
    /// Runnable tasks over the minute before the run: above zero, others were using the machine.
    pub(crate) load_before: f64,
}

impl Origin {
    pub(crate) async fn find(testbed: &mut Testbed) -> anyhow::Result<Self> {
        let settings = &testbed.settings;
        let sizes = [
            ("messages", settings.messages),
            ("backlog", settings.backlog),
            ("rows", settings.rows),
            ("records", settings.records),
            ("batch", settings.batch),
            ("repetitions", settings.repetitions.into()),
            ("ledger keys", settings.ledger_keys),
            ("memory backlog", settings.memory_backlog),
            ("idle messages", settings.idle_messages),
            ("one at a time", settings.today_messages),
            ("calls of the bare loop", settings.bare_calls().into()),
        ];
        let profile = testbed.executables.directory().file_name().unwrap_or_default().to_string_lossy();
        let versions = [
            ("veilpost", env!("CARGO_PKG_VERSION").to_owned()),
            ("profile", profile.into_owned()),
            ("allocator", if cfg!(feature = "jemalloc") { "jemalloc" } else { "system" }.to_owned()),
            ("rustc", output("rustc", &["--version"])),
            ("postgres", testbed.postgres_version().await?),
        ];
        Ok(Self {
            commit: output("git", &["rev-parse", "--short=12", "HEAD"]),
            changed: !output(
                "git",
                &["status", "--porcelain", "--", ":/services", ":/proto", ":/Cargo.lock"],
            )
            .is_empty(),
            date: Timestamp::now().strftime("%Y-%m-%d").to_string(),
            machine: Machine::find(),
            versions: versions.map(|(name, version)| (name.to_owned(), version)).into(),
            sizes: sizes.map(|(name, size)| (name.to_owned(), size)).into(),
        })
    }

    #[cfg(test)]
    pub(crate) fn for_tests(processor: &str) -> Self {
        let machine = Machine {
            processor: processor.to_owned(),
            cores: 2,
            memory_mib: 1,
            system: "s".to_owned(),
            kernel: "k".to_owned(),
            load_before: 0.0,
        };
        Self {
            commit: "c".to_owned(),
            changed: false,
            date: "d".to_owned(),
            machine,
            versions: BTreeMap::new(),
            sizes: BTreeMap::new(),
        }
    }

    pub(crate) fn sentence(&self) -> String {
        let Machine { processor, cores, memory_mib, system, kernel, load_before } = &self.machine;
        let changed = if self.changed { " with changes" } else { "" };
        let version = |name: &str| self.versions.get(name).cloned().unwrap_or_default();
        format!(
            "Measured on {} at commit {}{changed}: {cores} cores of {processor}, {} MiB, {system}, Linux {kernel}, load \
             {load_before:.1} before the run; {}, Postgres {} with fsync on, profile {}.",
            self.date,
            if self.commit.is_empty() { "(none)" } else { &self.commit },
            grouped(*memory_mib),
            version("rustc"),
            version("postgres"),
            version("profile"),
        )
    }

    /// How much was measured, in words.
    pub(crate) fn sizes(&self) -> String {
        let size = |name: &str| grouped(self.sizes.get(name).copied().unwrap_or_default());
        format!(
            "{} repetitions of {} messages, {} rows, {} records; batches of {}; {} keys in the ledger; a long queue of {} \
             messages; {} single messages.",
            size("repetitions"),
            size("messages"),
            size("rows"),
            size("records"),
            size("batch"),
            size("ledger keys"),
            size("memory backlog"),
            size("idle messages"),
        )
    }
}

impl Machine {
    fn find() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let memory = field("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse().ok());
        let system = field("/etc/os-release", "PRETTY_NAME").unwrap_or_default();
        let load = read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok());
        Self {
            processor: field("/proc/cpuinfo", "model name")
                .unwrap_or_else(|| "an unnamed processor".to_owned()),
            cores: u64::try_from(cores).unwrap_or_default(),
            memory_mib: memory.unwrap_or(0_u64) / 1024,
            system: system.trim_matches('"').to_owned(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: load.unwrap_or_default(),
        }
    }
}

/// What follows the first `name` and a colon or an equals sign.
fn field(file: &str, name: &str) -> Option<String> {
    let text = read(file);
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_start_matches([' ', '\t', ':', '=']).to_owned())
}

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(file)).unwrap_or_default()
}

/// What a program says, or nothing.
pub(super) fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().ok();
    let output = output.filter(|output| output.status.success());
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
