//! A certificate authority for one test, and files with the certificates that it issues.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use veilpost_local::certificates::{Authority, CertificateRequest, IssuedCertificate, Role};

/// Dropping it removes all files.
#[derive(Debug)]
pub struct Pki {
    directory: TempDir,
    pub ca: Authority,
}

/// The three files that a service needs for TLS.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    directory: PathBuf,
}

impl Pki {
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { directory: tempfile::tempdir()?, ca: Authority::new("Test CA")? })
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Files for a service, as `veilpost certificates` makes them. A second call returns the same files.
    pub fn files_of(&self, role: Role) -> anyhow::Result<CertificateFiles> {
        let directory = self.directory.path().join(role.name());
        if directory.exists() {
            Ok(CertificateFiles { directory })
        } else {
            self.files_named(role.name(), &role.request(&[]))
        }
    }

    /// Files in a directory called `name`.
    pub fn files_named(&self, name: &str, request: &CertificateRequest) -> anyhow::Result<CertificateFiles> {
        let directory = self.directory.path().join(name);
        std::fs::create_dir_all(&directory)?;
        let files = CertificateFiles { directory };
        files.replace(&self.ca.issue(request)?)?;
        files.trust(&[&self.ca])?;
        Ok(files)
    }
}

impl CertificateFiles {
    pub fn certificate(&self) -> PathBuf {
        self.directory.join("certificate.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.directory.join("key.pem")
    }

    pub fn ca(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// The command-line flags that name the files.
    pub fn flags(&self) -> Vec<(&'static str, String)> {
        [("--tls-certificate", self.certificate()), ("--tls-key", self.key()), ("--tls-ca", self.ca())]
            .into_iter()
            .map(|(flag, file)| (flag, file.display().to_string()))
            .collect()
    }

    /// Replaces the key and then the certificate, each in one step.
    pub fn replace(&self, issued: &IssuedCertificate) -> anyhow::Result<()> {
        put(&self.key(), &issued.key)?;
        put(&self.certificate(), &issued.certificate)
    }

    /// From now on peers must have a certificate from one of `authorities`.
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
