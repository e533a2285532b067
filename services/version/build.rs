//! Finds out the commit: from the variable VEILPOST_COMMIT, which images set, else from git where this is a
//! clone.

use std::path::{Path, PathBuf};
use std::process::Command;

const COMMIT: &str = "VEILPOST_COMMIT";

/// Digits of the hash: enough to stay unambiguous as the history grows.
const LENGTH: &str = "--short=12";

fn main() {
    println!("cargo::rerun-if-env-changed={COMMIT}");
    println!("cargo::rerun-if-changed=build.rs");
    let release = env!("CARGO_PKG_VERSION");
    let given = std::env::var(COMMIT).ok().filter(|commit| !commit.is_empty() && commit != "unknown");
    let version = match given.or_else(commit_of_clone) {
        Some(commit) => format!("{release} ({commit})"),
        None => release.to_owned(),
    };
    println!("cargo::rustc-env=VEILPOST_VERSION={version}");
}

/// The commit that is checked out. None when these sources are in no repository, or in one of something else.
fn commit_of_clone() -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().ok()?;
    let toplevel = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(&toplevel).canonicalize().ok()? != root {
        return None;
    }
    // Every commit, checkout and reset writes to one of these. A path that does not exist counts as changed.
    for name in ["HEAD", "logs/HEAD", "packed-refs"] {
        let path = PathBuf::from(git(&["rev-parse", "--path-format=absolute", "--git-path", name])?);
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    git(&["rev-parse", LENGTH, "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
