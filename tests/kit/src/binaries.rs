//! The service binaries under test, built once with the profile of the tests.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Set when the binaries are fresh: `cargo test --workspace` builds them all.
const BUILT: &str = "VEILPOST_TEST_BINARIES_BUILT";

const PACKAGES: [&str; 4] = ["veilpost", "veilpost-reader", "veilpost-masker", "veilpost-writer"];

static DIRECTORY: OnceLock<Result<PathBuf, String>> = OnceLock::new();

/// The path of the executable `name`. Builds all of them the first time, unless they are known to be fresh.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let directory = DIRECTORY.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    let path = directory.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?.join(name);
    anyhow::ensure!(path.exists(), "{} is not built; use tests/run", path.display());
    Ok(path)
}

fn build() -> anyhow::Result<PathBuf> {
    // Tests are one directory deeper than binaries.
    let own = std::env::current_exe()?;
    let directory = own.ancestors().skip(1).find(|directory| !directory.ends_with("deps"));
    let directory = directory.ok_or_else(|| anyhow::anyhow!("tests run outside of a target directory"))?;
    let directory = directory.to_owned();
    if std::env::var_os(BUILT).is_none() {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "--bins"]).args(PACKAGES.iter().flat_map(|package| ["-p", package]));
        // cargo names the directory after the profile, except for the one called dev.
        let profile = directory.file_name().and_then(|name| name.to_str()).unwrap_or("debug");
        cargo.args(["--profile", if profile == "debug" { "dev" } else { profile }]);
        anyhow::ensure!(cargo.status()?.success(), "the services could not be built");
    }
    Ok(directory)
}
