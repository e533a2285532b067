//! What `--version` shows. A crate of its own, so that a new commit compiles nothing else but what shows it.

/// The release, and the commit in brackets where the build knew it: `0.1.0 (1a2b3c4d5e6f)`.
pub const VERSION: &str = env!("VEILPOST_VERSION");

#[cfg(test)]
mod tests {
    use super::VERSION;

    #[test]
    fn the_release_comes_first_and_the_commit_in_brackets() {
        let rest = VERSION.strip_prefix(env!("CARGO_PKG_VERSION")).unwrap();
        let commit = rest.strip_prefix(" (").and_then(|rest| rest.strip_suffix(')'));
        assert!(rest.is_empty() || commit.is_some_and(|commit| !commit.is_empty()), "{VERSION}");
    }
}
