//! What the TLS files hold: this service's certificate and key, and the CAs that it trusts.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context;
use rustls::client::Resumption;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::certificate::Certificate;

/// HTTP/2, as ALPN names it.
const ALPN_HTTP_2: &[u8] = b"h2";

/// Where certificate, key and CAs are.
#[derive(Clone, Debug)]
pub(super) struct TlsFiles {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) ca: PathBuf,
}

impl TlsFiles {
    pub(super) fn all(&self) -> [&Path; 3] {
        [&self.certificate, &self.key, &self.ca]
    }
}

#[derive(Debug)]
pub(super) struct Credentials {
    own: Arc<SingleCertAndKey>,
    chain: Vec<CertificateDer<'static>>,
    pub(super) certificate: Certificate,
    cas: Vec<CertificateDer<'static>>,
    pub(super) clients: Arc<dyn ClientCertVerifier>,
    pub(super) servers: Arc<dyn ServerCertVerifier>,
    provider: Arc<CryptoProvider>,
}

impl Credentials {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or parsed, or the key is not the certificate's. No message shows what is in
    /// a file.
    pub(super) fn load(files: &TlsFiles) -> anyhow::Result<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chain = certificates(&files.certificate, "--tls-certificate")?;
        let first = chain.first().context("no certificate")?;
        let certificate = Certificate::parse(first)
            .with_context(|| format!("--tls-certificate {} cannot be parsed", files.certificate.display()))?;
        let own = certified(chain.clone(), key(&files.key)?, &provider).with_context(|| {
            format!(
                "--tls-key {} is not the key of --tls-certificate {}",
                files.key.display(),
                files.certificate.display()
            )
        })?;
        let cas = certificates(&files.ca, "--tls-ca")?;
        let roots = roots(&cas).with_context(|| format!("--tls-ca {} cannot be used", files.ca.display()))?;
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider)).build()?;
        let servers = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build()?;
        Ok(Self { own: Arc::new(own.into()), chain, certificate, cas, clients, servers, provider })
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.chain == other.chain && self.cas == other.cas
    }

    /// The configuration of a server whose clients `clients` verifies. Sessions are never resumed: a resumed
    /// session would skip the verification.
    pub(super) fn server(&self, clients: Arc<dyn ClientCertVerifier>) -> Result<ServerConfig, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(Arc::<SingleCertAndKey>::clone(&self.own));
        config.alpn_protocols = vec![ALPN_HTTP_2.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// The configuration of a client whose servers `servers` verifies.
    pub(super) fn client(&self, servers: Arc<dyn ServerCertVerifier>) -> Result<ClientConfig, rustls::Error> {
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(servers)
            .with_client_cert_resolver(Arc::<SingleCertAndKey>::clone(&self.own));
        config.alpn_protocols = vec![ALPN_HTTP_2.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    /// Why peers refuse this service's certificate at `now`; `None` while it is valid.
    pub(super) fn invalid_because(&self, now: SystemTime) -> Option<&'static str> {
        if !self.certificate.has_begun(now) {
            return Some("is not valid yet");
        }
        self.certificate.remaining(now).is_none().then_some("has expired")
    }
}

fn read(file: &Path, flag: &str) -> anyhow::Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {flag} {}", file.display()))
}

fn certificates(file: &Path, flag: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let pem = read(file, flag)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates =
        certificates.ok().with_context(|| format!("{flag} {} is not PEM, or is cut off", file.display()))?;
    anyhow::ensure!(!certificates.is_empty(), "{flag} {} holds no certificate", file.display());
    Ok(certificates)
}

fn key(file: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    let pem = zeroize::Zeroizing::new(read(file, "--tls-key")?);
    let key = PrivateKeyDer::from_pem_slice(&pem).ok();
    key.with_context(|| {
        format!("--tls-key {} holds no private key in PEM, or an encrypted one", file.display())
    })
}

/// A key that does not belong to the certificate is an error.
fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, rustls::Error> {
    CertifiedKey::from_der(chain, key, provider)
}

fn roots(cas: &[CertificateDer<'static>]) -> anyhow::Result<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    for ca in cas {
        roots.add(ca.clone())?;
    }
    Ok(Arc::new(roots))
}
