//! `AWS_CA_BUNDLE`: the CAs to trust for AWS endpoints, instead of the system's.

use std::path::{Path, PathBuf};

use aws_sdk_sqs::config::SharedHttpClient;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use veilpost_runtime::BadSettings;

const VARIABLE: &str = "AWS_CA_BUNDLE";

/// A client that trusts only the bundle; `None` where the variable is not set.
pub(crate) fn client() -> Result<Option<SharedHttpClient>, BadSettings> {
    let file = std::env::var_os(VARIABLE).filter(|file| !file.is_empty()).map(PathBuf::from);
    let Some(file) = file else { return Ok(None) };
    let trusted = TrustStore::empty().with_pem_certificate(checked(&file)?);
    let context = TlsContext::builder().with_trust_store(trusted).build();
    let context = context.map_err(|error| BadSettings(format!("{VARIABLE} {}: {error}", file.display())))?;
    let tls = Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(context);
    Ok(Some(tls.build_https()))
}

/// The file's content, checked. The client would panic on a bad one.
fn checked(file: &Path) -> Result<Vec<u8>, BadSettings> {
    let bad = |what: String| BadSettings(format!("{VARIABLE} {}: {what}", file.display()));
    let pem = std::fs::read(file).map_err(|error| bad(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| bad("not PEM, or cut off".to_owned()))?;
        roots.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    if roots.is_empty() { Err(bad("holds no certificate".to_owned())) } else { Ok(pem) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        checked(file.path()).unwrap_err().to_string()
    }

    #[test]
    fn a_file_that_cannot_be_used_is_a_bad_setting() {
        assert!(refusal("").contains("holds no certificate"));
        assert!(refusal("-----BEGIN CERTIFICATE-----\nAAAA").contains("cut off"));
        assert!(
            refusal("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
                .contains("AWS_CA_BUNDLE")
        );
        assert!(checked(Path::new("/nowhere/at-all")).unwrap_err().to_string().contains("/nowhere/at-all"));
    }
}
