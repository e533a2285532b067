//! Whose certificates the database may have. Only the CAs in the named file count; without a file, those of
//! this machine.

use std::path::{Path, PathBuf};

use anyhow::Context;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sqlx::postgres::PgConnectOptions;

use super::url::{BadUrl, bad};

/// Where systems keep the CAs that they trust: Debian, Fedora, openSUSE, Alpine and macOS.
const SYSTEM_ROOTS: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

const END: &str = "-----END CERTIFICATE-----";

/// How TLS is used, as libpq names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SslMode {
    Disable,
    Allow,
    #[default]
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl SslMode {
    const ALL: [Self; 6] =
        [Self::Disable, Self::Allow, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// What the URL says about TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tls {
    pub(super) mode: SslMode,
    has_mode: bool,
    roots: Roots,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Roots {
    #[default]
    System,
    File(PathBuf),
}

impl Default for Tls {
    /// Begins with `PGSSLMODE` and `PGSSLROOTCERT`, as libpq does.
    fn default() -> Self {
        let mut tls = Self { mode: SslMode::default(), has_mode: false, roots: Roots::System };
        if let Ok(file) = std::env::var("PGSSLROOTCERT") {
            tls.roots = Roots::File(file.into());
        }
        if let Ok(mode) = std::env::var("PGSSLMODE")
            && tls.set_mode(&mode).is_err()
        {
            tls.has_mode = false;
        }
        tls
    }
}

impl Tls {
    pub(super) fn set_mode(&mut self, name: &str) -> Result<(), BadUrl> {
        let mode = SslMode::ALL.into_iter().find(|mode| mode.name() == name);
        let names = SslMode::ALL.map(SslMode::name).join(", ");
        self.mode = mode.ok_or_else(|| bad(format!("sslmode is none of {names}")))?;
        self.has_mode = true;
        Ok(())
    }

    pub(super) fn set_roots(&mut self, value: &str) -> Result<(), BadUrl> {
        self.roots = match value {
            "" => return Err(bad("sslrootcert is empty")),
            "system" => Roots::System,
            file => Roots::File(file.into()),
        };
        if value == "system" && !self.has_mode {
            self.mode = SslMode::VerifyFull;
        }
        Ok(())
    }

    /// As in libpq, `require` with a file of CAs verifies.
    pub(super) fn settle(&mut self) {
        if self.mode == SslMode::Require && self.roots != Roots::System {
            self.mode = SslMode::VerifyCa;
        }
    }

    pub(super) fn verifies(&self) -> bool {
        self.mode >= SslMode::VerifyCa
    }

    /// Which CAs count, for messages.
    pub(super) fn roots(&self) -> String {
        match &self.roots {
            Roots::System => "this machine's file of CAs".to_owned(),
            Roots::File(file) => format!("sslrootcert {}", file.display()),
        }
    }

    /// Adds the CAs that count. The file is read for each connection, so that a new one is used. A file that
    /// is named is read even where nothing is verified: whoever names it relies on it.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or has no certificate or one that cannot be used. The text names it.
    pub(super) fn apply(&self, options: PgConnectOptions) -> anyhow::Result<PgConnectOptions> {
        let pem = match &self.roots {
            _ if self.mode == SslMode::Disable => return Ok(options),
            Roots::File(file) => read_roots(file)?,
            Roots::System if self.verifies() => system_roots()?,
            Roots::System => return Ok(options),
        };
        Ok(if self.verifies() { options.ssl_root_cert_from_pem(pem.into_bytes()) } else { options })
    }
}

fn read_roots(file: &Path) -> anyhow::Result<String> {
    let shown = file.display();
    let bytes = std::fs::read(file).with_context(|| format!("cannot read sslrootcert {shown}"))?;
    anyhow::ensure!(!bytes.is_empty(), "sslrootcert {shown} is empty");
    // A certificate in another form than PEM is not even text.
    let pem = String::from_utf8_lossy(&bytes).into_owned();
    let certificates: Vec<_> = certificates(&pem).collect();
    anyhow::ensure!(
        !certificates.is_empty(),
        "sslrootcert {shown} has no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----"
    );
    for (number, certificate) in certificates.iter().enumerate() {
        let number = number + 1;
        anyhow::ensure!(is_usable(certificate), "certificate {number} in sslrootcert {shown} cannot be used");
    }
    Ok(pem)
}

/// Certificates of the system that cannot be used are left out.
fn system_roots() -> anyhow::Result<String> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let known = SYSTEM_ROOTS.iter().map(PathBuf::from);
    let found = named.into_iter().chain(known).find_map(|file| std::fs::read_to_string(file).ok());
    let pem =
        found.context("this machine has no file of CAs; name one with sslrootcert in the database's URL")?;
    Ok(certificates(&pem).filter(|certificate| is_usable(certificate)).collect())
}

/// The certificates in a file, each still in PEM.
fn certificates(pem: &str) -> impl Iterator<Item = &str> {
    pem.split_inclusive(END).filter(|part| part.contains("-----BEGIN CERTIFICATE-----"))
}

fn is_usable(pem: &str) -> bool {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes());
    certificate.is_ok_and(|certificate| RootCertStore::empty().add(certificate).is_ok())
}
