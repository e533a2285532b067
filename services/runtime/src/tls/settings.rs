//! The TLS settings: three files, or none.

use std::path::PathBuf;

use clap::Args;

use super::credentials::TlsFiles;
use super::own_identity::Identity;
use crate::{BadSettings, Lifecycle};

/// The files for mutual TLS between the services: all three are given, or none for plain text.
#[derive(Args, Clone, Debug, Default)]
pub struct TlsSettings {
    /// PEM file with this service's certificate and the intermediates below the CA's; read again when it is
    /// replaced. With it --tls-key and --tls-ca are needed, and every connection between the services is
    /// mutual TLS 1.3
    #[arg(long, env = "VEILPOST_TLS_CERTIFICATE", value_name = "FILE", help_heading = "TLS")]
    pub tls_certificate: Option<PathBuf>,

    /// PEM file with the certificate's private key
    #[arg(long, env = "VEILPOST_TLS_KEY", value_name = "FILE", help_heading = "TLS")]
    pub tls_key: Option<PathBuf>,

    /// PEM file with the certificates of the CAs that the other services' certificates are from, and of no
    /// others
    #[arg(long, env = "VEILPOST_TLS_CA", value_name = "FILE", help_heading = "TLS")]
    pub tls_ca: Option<PathBuf>,
}

impl TlsSettings {
    /// Whether connections are TLS.
    ///
    /// # Errors
    ///
    /// When only some of the three files are given.
    pub fn enabled(&self) -> Result<bool, BadSettings> {
        self.files().map(|files| files.is_some())
    }

    /// Reads the files, and reads them again when they are replaced, until the service drains; `None` for
    /// plain text.
    ///
    /// # Errors
    ///
    /// [`BadSettings`] when only some of the three files are given, or the files cannot be used.
    pub fn open(&self, life: &Lifecycle) -> anyhow::Result<Option<Identity>> {
        let Some(files) = self.files()? else { return Ok(None) };
        let identity = Identity::open(files)?;
        life.spawn("certificates", identity.clone().keep_fresh(life.clone()));
        Ok(Some(identity))
    }

    fn files(&self) -> Result<Option<TlsFiles>, BadSettings> {
        match (&self.tls_certificate, &self.tls_key, &self.tls_ca) {
            (None, None, None) => Ok(None),
            (Some(certificate), Some(key), Some(ca)) => {
                Ok(Some(TlsFiles { certificate: certificate.clone(), key: key.clone(), ca: ca.clone() }))
            }
            _ => Err(BadSettings(
                "--tls-certificate, --tls-key and --tls-ca (VEILPOST_TLS_CERTIFICATE, …) belong together: give all three, \
                 or none for plain text"
                    .to_owned(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_files_are_given_or_none() {
        assert!(!TlsSettings::default().enabled().unwrap());
        let file = || Some(PathBuf::from("file"));
        let all = TlsSettings { tls_certificate: file(), tls_key: file(), tls_ca: file() };
        assert!(all.enabled().unwrap());
        for some in [
            TlsSettings { tls_certificate: None, ..all.clone() },
            TlsSettings { tls_key: None, ..all.clone() },
            TlsSettings { tls_ca: None, ..all.clone() },
        ] {
            assert!(some.enabled().unwrap_err().to_string().contains("all three"));
        }
    }
}
