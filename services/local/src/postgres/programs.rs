//! Where Postgres's programs are: on the PATH, or where distributions and Homebrew put them.

use std::path::{Path, PathBuf};

/// Directories with one subdirectory per version, and the subdirectory of a version that holds the programs.
const VERSIONED: [(&str, &str); 6] = [
    ("/usr/lib/postgresql", "bin"),
    ("/usr", "bin"),
    ("/opt/homebrew/opt", "bin"),
    ("/usr/local/opt", "bin"),
    ("/home/linuxbrew/.linuxbrew/opt", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "bin"),
];

/// A directory that holds `initdb` and `postgres`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    directory: PathBuf,
}

impl Programs {
    /// The PATH comes first, then the highest version elsewhere.
    pub fn find() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self::find_in(std::env::split_paths(&path), Path::new("/"))
    }

    /// `root` is put in front of the well-known places.
    fn find_in(path: impl Iterator<Item = PathBuf>, root: &Path) -> Option<Self> {
        let directory = path.chain(well_known(root)).find(|directory| is_complete(directory))?;
        Some(Self { directory })
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.directory.join("initdb")
    }

    pub(super) fn postgres(&self) -> PathBuf {
        self.directory.join("postgres")
    }
}

fn is_complete(directory: &Path) -> bool {
    directory.is_absolute() && ["initdb", "postgres"].iter().all(|program| directory.join(program).is_file())
}

fn well_known(root: &Path) -> impl Iterator<Item = PathBuf> {
    VERSIONED.into_iter().flat_map(move |(parent, bin)| {
        let parent = root.join(parent.trim_start_matches('/'));
        versions_in(&parent).into_iter().map(move |version| version.join(bin))
    })
}

/// The subdirectories that are a version or named after Postgres, the highest version first.
fn versions_in(parent: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> =
        entries.filter_map(|entry| Some((version(entry.file_name().to_str()?)?, entry.path()))).collect();
    found.sort_by(|left, right| right.cmp(left));
    found.into_iter().map(|(_, directory)| directory).collect()
}

/// `17`, `postgresql@17` and `pgsql-17` are 17; `postgresql` and `latest` are whatever is newest there.
fn version(name: &str) -> Option<u32> {
    let number =
        ["postgresql@", "pgsql-", ""].iter().find_map(|prefix| name.strip_prefix(prefix)?.parse().ok());
    number.or_else(|| ["postgresql", "latest"].contains(&name).then_some(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn install(directory: &Path) {
        fs::create_dir_all(directory).unwrap();
        for program in ["initdb", "postgres"] {
            fs::write(directory.join(program), "").unwrap();
        }
    }

    #[test]
    fn the_path_comes_before_the_well_known_places() {
        let root = tempfile::tempdir().unwrap();
        let (on_path, debian) = (root.path().join("mine"), root.path().join("usr/lib/postgresql/17/bin"));
        install(&on_path);
        install(&debian);
        let found = Programs::find_in([on_path.clone()].into_iter(), root.path()).unwrap();
        assert_eq!(found.directory, on_path);
        assert_eq!(Programs::find_in(std::iter::empty(), root.path()).unwrap().directory, debian);
    }

    #[test]
    fn the_highest_version_wins_as_a_number() {
        let root = tempfile::tempdir().unwrap();
        for version in ["9", "15", "17"] {
            install(&root.path().join("usr/lib/postgresql").join(version).join("bin"));
        }
        let found = Programs::find_in(std::iter::empty(), root.path()).unwrap();
        assert_eq!(found.directory, root.path().join("usr/lib/postgresql/17/bin"));
    }

    #[test]
    fn homebrew_is_searched() {
        let root = tempfile::tempdir().unwrap();
        let homebrew = root.path().join("opt/homebrew/opt/postgresql@16/bin");
        install(&homebrew);
        assert_eq!(Programs::find_in(std::iter::empty(), root.path()).unwrap().directory, homebrew);
    }

    #[test]
    fn a_directory_with_only_the_client_programs_does_not_count() {
        let root = tempfile::tempdir().unwrap();
        let client = root.path().join("usr/lib/postgresql/17/bin");
        fs::create_dir_all(&client).unwrap();
        fs::write(client.join("psql"), "").unwrap();
        assert_eq!(Programs::find_in([client].into_iter(), root.path()), None);
    }
}
