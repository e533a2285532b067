//! A certificate authority for one test, and the files of what it issues.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use veilpost_local::certificates::{Authority, CertificateRequest, IssuedCertificate, Role};

/// Dropping it removes all files.
#[derive(Debug)]
pub struct Pki {
    directory: TempDir,
    pub ca: Authority,
}

/// Three files, as the services' settings name them.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    directory: PathBuf,
}

impl Pki {
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { directory: tempfile::tempdir()?, ca: Authority::new("Test CA")? })
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Files for a service as `veilpost certificates` would make them; made once.
    pub fn files_of(&self, role: Role) -> anyhow::Result<TlsFiles> {
        let directory = self.directory.path().join(role.name());
        if directory.exists() {
            Ok(TlsFiles { directory })
        } else {
            self.files_named(role.name(), &role.request(&[]))
        }
    }

    /// Files in a directory called `name`.
    pub fn files_named(&self, name: &str, request: &CertificateRequest) -> anyhow::Result<TlsFiles> {
        let directory = self.directory.path().join(name);
        std::fs::create_dir_all(&directory)?;
        let files = TlsFiles { directory };
        files.replace(&self.ca.issue(request)?)?;
        files.trust(&[&self.ca])?;
        Ok(files)
    }
}

impl TlsFiles {
    pub fn certificate(&self) -> PathBuf {
        self.directory.join("certificate.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.directory.join("key.pem")
    }

    pub fn ca(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// The flags, to be given to a service with others.
    pub fn flags(&self) -> Vec<(&'static str, String)> {
        [("--tls-certificate", self.certificate()), ("--tls-key", self.key()), ("--tls-ca", self.ca())]
            .into_iter()
            .map(|(flag, file)| (flag, file.display().to_string()))
            .collect()
    }

    /// Puts another certificate and its key in place: each in one step, one after the other.
    pub fn replace(&self, issued: &IssuedCertificate) -> anyhow::Result<()> {
        put(&self.key(), &issued.key)?;
        put(&self.certificate(), &issued.certificate)
    }

    /// From now on the peers' certificates are to be from one of `authorities`.
    pub fn trust(&self, authorities: &[&Authority]) -> anyhow::Result<()> {
        let all: String = authorities.iter().map(|authority| authority.certificate()).collect();
        put(&self.ca(), &all)
    }
}

fn put(file: &Path, text: &str) -> anyhow::Result<()> {
    let new = file.with_extension("new");
    std::fs::write(&new, text)?;
    Ok(std::fs::rename(&new, file)?)
}
