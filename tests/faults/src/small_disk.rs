//! A small file system in memory that can be filled to the last byte.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;

const SIZE: &str = "size=64m";

/// A mounted tmpfs; dropping it unmounts it.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    mount: PathBuf,
}

impl SmallDisk {
    /// Mounts one at `mount`, for the owner of `like`. An error where this process may not mount.
    pub(crate) fn mount(mount: PathBuf, like: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir(&mount)?;
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", SIZE, "veilpost-small-disk"]).arg(&mount);
        let status =
            command.stdout(Stdio::null()).stderr(Stdio::null()).status().context("no program mount")?;
        anyhow::ensure!(status.success(), "this user may not mount a file system");
        let this = Self { mount };
        let owner = std::fs::metadata(like)?;
        std::fs::create_dir(this.tablespace())?;
        for path in [&this.mount, &this.tablespace()] {
            chown(path, Some(owner.uid()), Some(owner.gid()))?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
        }
        Ok(this)
    }

    pub(crate) fn tablespace(&self) -> PathBuf {
        self.mount.join("tablespace")
    }

    fn ballast(&self) -> PathBuf {
        self.mount.join("ballast")
    }

    /// Leaves no byte free.
    pub(crate) fn fill(&self) -> anyhow::Result<()> {
        let mut ballast = File::create(self.ballast())?;
        for size in [1 << 20, 1 << 12] {
            let piece = vec![b'x'; size];
            while ballast.write_all(&piece).is_ok() {}
        }
        Ok(())
    }

    pub(crate) fn empty(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.ballast())?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: Postgres may still be about to close its files.
        let mut command = Command::new("umount");
        command.arg("--lazy").arg(&self.mount).stdout(Stdio::null()).stderr(Stdio::null());
        if !command.status().is_ok_and(|status| status.success()) {
            complain(&self.mount);
        }
    }
}

fn complain(mount: &Path) {
    let mut error = std::io::stderr().lock();
    writeln!(error, "{} is still mounted", mount.display()).ok();
}
