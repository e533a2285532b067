//! The user that Postgres runs as, because it refuses to run as root.

use std::process::Command;

use anyhow::Context;

/// A user and group id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl User {
    /// None when this process is not root and may run Postgres itself.
    pub(super) fn other_than_root() -> anyhow::Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let user = ["postgres", "nobody"].into_iter().find_map(Self::named);
        user.map(Some)
            .context("Postgres refuses to run as root, and there is neither a user postgres nor nobody")
    }

    fn named(name: &str) -> Option<Self> {
        Some(Self { uid: id("-u", name)?, gid: id("-g", name)? })
    }

    /// Makes a command run as this user.
    pub(super) fn on(self, command: &mut tokio::process::Command) {
        command.uid(self.uid).gid(self.gid);
    }
}

fn id(which: &str, name: &str) -> Option<u32> {
    let output = Command::new("id").args([which, name]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_an_id_and_an_unknown_name_has_none() {
        assert_eq!(User::named("root"), Some(User { uid: 0, gid: 0 }));
        assert_eq!(User::named("no-such-user-here"), None);
    }
}
