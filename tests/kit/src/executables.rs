//! The programs under test: built by the cargo that runs this process, or taken from a directory.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::Context;
use veilpost_local::process::ServiceCommand;

/// The packages and the programs that they contain.
const PROGRAMS: [&str; 4] = ["veilpost-reader", "veilpost-masker", "veilpost-writer", "veilpost"];

/// Set when the programs are fresh: `cargo test --workspace` builds them all.
const BUILT: &str = "VEILPOST_TEST_BINARIES_BUILT";

/// A directory that holds the programs.
#[derive(Clone, Debug)]
pub struct Executables {
    directory: PathBuf,
}

/// The path of a program, in the directory of this process's program. The first call builds all programs.
pub fn binary(program: &str) -> anyhow::Result<PathBuf> {
    static FOUND: OnceLock<Result<Executables, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| Executables::build(&[]).map_err(|error| format!("{error:#}")));
    Ok(found.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?.path(program))
}

impl Executables {
    /// Builds the programs in the profile of this process's program and with `features`. Does not build where
    /// no cargo runs this process, nor where the environment says that the programs are fresh.
    pub fn build(features: &[&str]) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let directory = output_directory(&program).context("this program is in no directory")?;
        if let (Some(cargo), None) = (std::env::var_os("CARGO"), std::env::var_os(BUILT)) {
            let package = std::env::var_os("CARGO_MANIFEST_DIR").context("cargo names no package")?;
            let mut command = Command::new(cargo);
            command.args(["build", "--bins", "--profile", profile(directory)]);
            command.arg("--manifest-path").arg(Path::new(&package).join("Cargo.toml"));
            command.arg("--target-dir").arg(directory.parent().context("no target directory")?);
            command.args(PROGRAMS.iter().flat_map(|program| ["--package", program]));
            command.args(features.iter().flat_map(|feature| ["--features", feature]));
            let status = command.stdin(Stdio::null()).stdout(std::io::stderr()).status()?;
            anyhow::ensure!(status.success(), "cargo build failed ({status})");
        }
        Self::in_directory(directory)
    }

    /// The programs in `directory`, however they were built.
    pub fn in_directory(directory: &Path) -> anyhow::Result<Self> {
        let missing = PROGRAMS.iter().find(|program| !directory.join(program).is_file());
        if let Some(missing) = missing {
            anyhow::bail!("{missing} is not in {}; build it, or use cargo", directory.display());
        }
        Ok(Self { directory: directory.to_owned() })
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn path(&self, program: &str) -> PathBuf {
        self.directory.join(program)
    }

    /// `service` is reader, masker or writer; `name` distinguishes several processes of one service.
    pub fn command(&self, service: &str, name: &str) -> ServiceCommand {
        ServiceCommand::new(name, self.path(&format!("veilpost-{service}")))
    }
}

/// Programs of tests are one level deeper than the others.
fn output_directory(program: &Path) -> Option<&Path> {
    program.ancestors().skip(1).find(|directory| !directory.ends_with("deps"))
}

/// cargo names the directory after the profile, except for the profile dev.
fn profile(directory: &Path) -> &str {
    match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_is_read_from_the_directory() {
        assert_eq!(profile(Path::new("/x/target/debug")), "dev");
        assert_eq!(profile(Path::new("/x/target/dist")), "dist");
    }

    #[test]
    fn tests_find_the_programs_one_level_up() {
        assert_eq!(output_directory(Path::new("/t/debug/deps/e2e-123")), Some(Path::new("/t/debug")));
        assert_eq!(output_directory(Path::new("/t/dist/veilpost")), Some(Path::new("/t/dist")));
    }

    #[test]
    fn programs_that_are_not_there_are_named() {
        let empty = tempfile::tempdir().unwrap();
        let error = Executables::in_directory(empty.path()).unwrap_err();
        assert!(error.to_string().starts_with("veilpost-reader is not in "), "{error}");
    }
}
