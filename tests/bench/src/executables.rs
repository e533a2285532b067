//! The services' executables: in the directory of this program, and built first when cargo runs it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;
use tokio::process::Command;

use veilpost_local::output::say;
use veilpost_local::process::{Child, ServiceCommand};

const SERVICES: [&str; 3] = ["reader", "masker", "writer"];

/// A directory that holds the three services' executables.
#[derive(Clone, Debug)]
pub(crate) struct Executables {
    directory: PathBuf,
}

impl Executables {
    /// Under `cargo run` and `cargo test` the services are built first, in the profile and with the allocator
    /// of this program, so that they are as fresh. Otherwise they must exist.
    pub(crate) async fn find() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let directory = output_directory(&program).context("this program is in no directory")?;
        if let Some(cargo) = Cargo::from_environment() {
            cargo.build(directory).await?;
        }
        Self::in_directory(directory)
    }

    /// The executables in `directory`, however they were built.
    pub(crate) fn in_directory(directory: &Path) -> anyhow::Result<Self> {
        let missing = SERVICES.iter().find(|name| !directory.join(executable(name)).is_file());
        if let Some(missing) = missing {
            anyhow::bail!(
                "{} is not in {}; build the services with: cargo build --profile dist --features jemalloc",
                executable(missing),
                directory.display()
            );
        }
        Ok(Self { directory: directory.to_owned() })
    }

    /// The directory that holds them.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// `service` is reader, masker or writer; `name` distinguishes several processes of one service.
    pub(crate) fn command(&self, service: &str, name: &str) -> ServiceCommand {
        ServiceCommand::new(name, self.directory.join(executable(service)))
    }
}

fn executable(service: &str) -> String {
    format!("veilpost-{service}")
}

/// Test executables are one level deeper than the others.
fn output_directory(program: &Path) -> Option<&Path> {
    let directory = program.parent()?;
    if directory.ends_with("deps") { directory.parent() } else { Some(directory) }
}

/// The cargo that runs this program.
struct Cargo {
    program: PathBuf,
    manifest: PathBuf,
}

impl Cargo {
    fn from_environment() -> Option<Self> {
        let program = std::env::var_os("CARGO")?.into();
        let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?);
        Some(Self { program, manifest: workspace_manifest(&package)? })
    }

    /// Builds `veilpost` too, although it is fresh: with another set of packages cargo chooses other features
    /// and compiles the dependencies a second time.
    async fn build(&self, directory: &Path) -> anyhow::Result<()> {
        say("Building the services");
        let target = directory.parent().context("no target directory")?;
        let mut command = Command::new(&self.program);
        command.args(["build", "--profile", profile(directory)]).arg("--manifest-path").arg(&self.manifest);
        command.arg("--target-dir").arg(target).args(["--package", "veilpost"]);
        if cfg!(feature = "jemalloc") {
            command.args(["--features", "jemalloc"]);
        }
        for service in SERVICES {
            command.arg("--package").arg(executable(service));
        }
        command.stdin(Stdio::null()).stdout(std::io::stderr());
        let status = Child::start("cargo", &mut command)?.wait().await?;
        anyhow::ensure!(status.success(), "cargo build failed ({status})");
        Ok(())
    }
}

/// The nearest Cargo.toml at or above `package` that has the services beside it.
fn workspace_manifest(package: &Path) -> Option<PathBuf> {
    let root =
        package.ancestors().find(|directory| directory.join("services/reader/Cargo.toml").is_file())?;
    Some(root.join("Cargo.toml")).filter(|manifest| manifest.is_file())
}

/// cargo names the directory after the profile, but for the one called dev.
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
    fn tests_find_the_executables_one_level_up() {
        assert_eq!(output_directory(Path::new("/t/debug/deps/e2e-123")), Some(Path::new("/t/debug")));
        assert_eq!(output_directory(Path::new("/t/release/veilpost")), Some(Path::new("/t/release")));
    }

    #[test]
    fn the_workspace_is_found_from_this_package() {
        let manifest = workspace_manifest(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert!(manifest.with_file_name("proto").is_dir());
    }
}
