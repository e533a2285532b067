//! A certificate authority and its key.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

/// How long before now a new certificate becomes valid, because clocks differ.
const SLACK: Duration = Duration::from_hours(1);

const CA_VALIDITY: Duration = Duration::from_hours(10 * 365 * 24);

/// Issues certificates.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// What a certificate shall contain.
#[derive(Clone, Debug)]
pub struct CertificateRequest {
    /// Alternative names: IP addresses, URIs (with a scheme) or host names.
    pub names: Vec<String>,
    pub server: bool,
    pub client: bool,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

/// A certificate and its key, in PEM.
pub struct IssuedCertificate {
    pub certificate: String,
    pub key: String,
}

impl Default for CertificateRequest {
    fn default() -> Self {
        let now = SystemTime::now();
        let not_after = now + Duration::from_hours(365 * 24);
        Self { names: Vec::new(), server: true, client: true, not_before: now - SLACK, not_after }
    }
}

impl Authority {
    /// Makes an authority with a new key.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let now = SystemTime::now();
        parameters.not_before = (now - SLACK).into();
        parameters.not_after = (now + CA_VALIDITY).into();
        let key = KeyPair::generate()?;
        let certificate = parameters.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(parameters, key), certificate })
    }

    /// Reads an authority that was made before.
    pub fn from_pem(certificate: &str, key: &str) -> anyhow::Result<Self> {
        let key = KeyPair::from_pem(key).ok().context("the CA's key is no private key in PEM")?;
        let issuer =
            Issuer::from_ca_cert_pem(certificate, key).context("the CA's certificate cannot be read")?;
        Ok(Self { issuer, certificate: certificate.to_owned() })
    }

    /// Its own certificate, in PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Its key, in PEM.
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    pub fn issue(&self, request: &CertificateRequest) -> anyhow::Result<IssuedCertificate> {
        let mut parameters = CertificateParams::default();
        let first = request.names.first().map_or("nameless", String::as_str);
        parameters.distinguished_name.push(DnType::CommonName, first);
        parameters.subject_alt_names =
            request.names.iter().map(|name| alternative(name)).collect::<Result<_, _>>()?;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let usages = [
            (request.server, ExtendedKeyUsagePurpose::ServerAuth),
            (request.client, ExtendedKeyUsagePurpose::ClientAuth),
        ];
        parameters.extended_key_usages =
            usages.into_iter().filter_map(|(has, usage)| has.then_some(usage)).collect();
        parameters.use_authority_key_identifier_extension = true;
        parameters.not_before = request.not_before.into();
        parameters.not_after = request.not_after.into();
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, &self.issuer)?.pem();
        Ok(IssuedCertificate { certificate, key: key.serialize_pem() })
    }
}

fn alternative(name: &str) -> anyhow::Result<SanType> {
    let text = || name.try_into().with_context(|| format!("`{name}` is no name for a certificate"));
    Ok(match name.parse::<IpAddr>() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) if name.contains("://") => SanType::URI(text()?),
        Err(_) => SanType::DnsName(text()?),
    })
}

/// Never shows the key.
impl std::fmt::Debug for IssuedCertificate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("IssuedCertificate")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}
