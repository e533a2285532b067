//! Tells whether files have been replaced or written since they were last looked at.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What several files were like when they were looked at. Differs once one of them is written, or another
/// file takes its place, also by a change of a symbolic link on the way, as Kubernetes does it.
///
/// Take it before the files are read, so that the next comparison finds what changes meanwhile.
#[derive(Debug, PartialEq, Eq)]
pub struct FileStamps(Vec<FileStamp>);

#[derive(Debug, PartialEq, Eq)]
struct FileStamp {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamps {
    /// Looks at the files.
    ///
    /// # Errors
    ///
    /// When one of them cannot be looked at.
    pub fn of<P: AsRef<Path>>(files: impl IntoIterator<Item = P>) -> io::Result<Self> {
        let stamp = |file: P| std::fs::metadata(file).map(FileStamp::from);
        Ok(Self(files.into_iter().map(stamp).collect::<Result<_, _>>()?))
    }
}

impl From<Metadata> for FileStamp {
    fn from(file: Metadata) -> Self {
        Self {
            inode: (file.dev(), file.ino()),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_write_a_rename_and_another_link_each_make_a_difference() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir(path("v1")).unwrap();
        std::fs::create_dir(path("v2")).unwrap();
        std::fs::write(path("v1/policy"), "one").unwrap();
        std::fs::write(path("v2/policy"), "one").unwrap();
        symlink("v1", path("data")).unwrap();
        let look = || FileStamps::of([path("data/policy")]).unwrap();
        let first = look();
        assert_eq!(first, look());
        symlink("v2", path("new")).unwrap();
        std::fs::rename(path("new"), path("data")).unwrap();
        let linked = look();
        assert_ne!(first, linked);
        std::fs::write(path("v2/policy"), "other").unwrap();
        let written = look();
        assert_ne!(linked, written);
        std::fs::write(path("v2/next"), "other").unwrap();
        std::fs::rename(path("v2/next"), path("v2/policy")).unwrap();
        assert_ne!(written, look());
        std::fs::remove_file(path("v2/policy")).unwrap();
        assert!(FileStamps::of([path("data/policy")]).is_err());
    }
}
