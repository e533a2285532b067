//! Whether the commit that was measured is part of this history.

use std::path::Path;
use std::process::Command;

use veilpost_local::output::say;

use super::origin::{Origin, output};
use crate::figures::Checks;

/// What the figures depend on.
const MEASURED: [&str; 4] = [":/services", ":/proto", ":/Cargo.lock", ":/Cargo.toml"];

/// A commit that is known here but not an ancestor of what is checked out belongs to another history: an
/// error. A shallow clone and an archive cannot tell, which is said and is no error.
pub(crate) fn check(root: &Path, origin: &Origin, checks: &mut Checks) {
    checks.that(!origin.changed, || "what was measured had changes that no commit has".to_owned());
    let version = |name| origin.versions.get(name).map(String::as_str);
    let built = (version("profile"), version("allocator"));
    // Until the profile `dist` existed, `release` was what it is now, and jemalloc was in every build.
    let shipped = matches!(built, (Some("dist"), Some("jemalloc")) | (Some("release"), None));
    checks.that(shipped, || format!("what was measured is not what images contain: {built:?}"));
    let commit = &origin.commit;
    if !git(root, &["cat-file", "-e", &format!("{commit}^{{commit}}")]) {
        say(&format!("this clone does not have commit {commit}, so it cannot tell how old the figures are"));
        return;
    }
    let ancestor = git(root, &["merge-base", "--is-ancestor", commit, "HEAD"]);
    checks.that(ancestor, || format!("the figures are from {commit}, which is not part of this history"));
    let range = format!("{commit}..HEAD");
    let since = output("git", &[&["rev-list", "--count", &range, "--"], &MEASURED[..]].concat());
    say(&format!(
        "the figures are from {commit} of {}; {since} commits since then changed what is measured",
        origin.date
    ));
}

fn git(root: &Path, arguments: &[&str]) -> bool {
    let git = Command::new("git").arg("-C").arg(root).args(arguments).output();
    git.is_ok_and(|output| output.status.success())
}
