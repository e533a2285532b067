//! A directory with a CA and the services' certificates, made once and renewed when they grow old.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;

use super::{Authority, CertificateRequest, Role};

const CA: &str = "ca";
const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";
const CA_FILE: &str = "ca.pem";

/// A directory with `ca/` and one directory per service. A service's directory holds all the files that the
/// service needs, and no other files.
#[derive(Debug)]
pub struct CertificateFolder(PathBuf);

/// How long new certificates are valid, and whether good ones are replaced.
#[derive(Clone, Copy, Debug)]
pub struct IssuePolicy {
    pub validity: Duration,
    pub renew: bool,
}

/// Whether a service's certificate was issued or kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provided {
    New,
    /// The service has one for all the hosts, with more than a third of its time left.
    Kept,
}

impl CertificateFolder {
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into())
    }

    /// Where a service finds its `certificate.pem`, `key.pem` and `ca.pem`.
    pub fn of(&self, role: Role) -> PathBuf {
        self.0.join(role.name())
    }

    /// Reads the CA, or makes one where there is none. A CA is never replaced.
    pub fn authority(&self) -> anyhow::Result<Authority> {
        let directory = self.0.join(CA);
        let (certificate, key) = (directory.join(CERTIFICATE), directory.join(KEY));
        if certificate.exists() || key.exists() {
            return Authority::from_pem(&read(&certificate)?, &read(&key)?)
                .with_context(|| format!("the CA in {} cannot be used", directory.display()));
        }
        let authority = Authority::new("Veilpost trial CA")?;
        make_directory(&directory)?;
        // The certificate is written last: its file says that the CA is complete.
        write(&key, &authority.key(), 0o400)?;
        write(&certificate, authority.certificate(), 0o444)?;
        Ok(authority)
    }

    /// Issues a certificate for `hosts`, unless the service has a good one. A certificate from another CA is
    /// an error unless the policy says to renew.
    pub fn provide(
        &self,
        authority: &Authority,
        role: Role,
        hosts: &[String],
        policy: IssuePolicy,
    ) -> anyhow::Result<Provided> {
        let directory = self.of(role);
        let request = role.request(hosts);
        if !policy.renew && directory.join(CERTIFICATE).exists() {
            let ca = read(&directory.join(CA_FILE)).unwrap_or_default();
            anyhow::ensure!(
                ca == authority.certificate(),
                "{} holds a certificate that is not from the CA here; --renew replaces it",
                directory.display()
            );
            if is_good(&directory, &request) {
                return Ok(Provided::Kept);
            }
        }
        let request = CertificateRequest { not_after: SystemTime::now() + policy.validity, ..request };
        let issued = authority.issue(&request)?;
        make_directory(&directory)?;
        write(&directory.join(CA_FILE), authority.certificate(), 0o444)?;
        write(&directory.join(KEY), &issued.key, 0o400)?;
        write(&directory.join(CERTIFICATE), &issued.certificate, 0o444)?;
        Ok(Provided::New)
    }
}

fn is_good(directory: &Path, request: &CertificateRequest) -> bool {
    let certificate = fs::read(directory.join(CERTIFICATE)).unwrap_or_default();
    directory.join(KEY).exists() && says(&certificate, request, SystemTime::now()).unwrap_or(false)
}

/// Whether the certificate has all the names of the request and more than a third of its time left.
fn says(pem: &[u8], request: &CertificateRequest, now: SystemTime) -> Option<bool> {
    let (_, pem) = parse_x509_pem(pem).ok()?;
    let certificate = pem.parse_x509().ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let has = |name: &String| names.value.general_names.iter().any(|found| is_named(found, name));
    let (begin, end) =
        (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
    let now = i64::try_from(now.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()?;
    Some(request.names.iter().all(has) && now >= begin && end - now > (end - begin) / 3)
}

fn is_named(found: &GeneralName<'_>, name: &str) -> bool {
    match found {
        GeneralName::DNSName(found) | GeneralName::URI(found) => *found == name,
        GeneralName::IPAddress(octets) => match name.parse() {
            Ok(std::net::IpAddr::V4(address)) => address.octets() == *octets,
            Ok(std::net::IpAddr::V6(address)) => address.octets() == *octets,
            Err(_) => false,
        },
        _ => false,
    }
}

fn read(file: &Path) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// A new directory is closed to other users; an existing one keeps its mode.
fn make_directory(directory: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("cannot make {}", directory.display()))
}

/// Replaces the file in one step, so that no reader sees half of it.
fn write(file: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let new = file.with_extension("new");
    let written = || -> std::io::Result<()> {
        // An earlier attempt may have left a file with another text and another mode.
        if new.exists() {
            fs::remove_file(&new)?;
        }
        let mut open = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        open.write_all(text.as_bytes())?;
        open.sync_all()?;
        fs::rename(&new, file)
    };
    written().with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const TERM: IssuePolicy = IssuePolicy { validity: Duration::from_hours(24 * 365), renew: false };

    fn provide(
        folder: &CertificateFolder,
        hosts: &[&str],
        policy: IssuePolicy,
    ) -> anyhow::Result<Vec<Provided>> {
        let authority = folder.authority()?;
        let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
        Role::ALL.iter().map(|role| folder.provide(&authority, *role, &hosts, policy)).collect()
    }

    fn certificate(folder: &CertificateFolder, role: Role) -> String {
        read(&folder.of(role).join(CERTIFICATE)).unwrap()
    }

    #[test]
    fn a_second_run_changes_nothing_and_a_renewal_everything_but_the_ca() {
        let directory = tempfile::tempdir().unwrap();
        let folder = CertificateFolder::new(directory.path());
        assert_eq!(provide(&folder, &[], TERM).unwrap(), [Provided::New; 3]);
        let (first, ca) = (certificate(&folder, Role::Masker), folder.authority().unwrap());
        assert_eq!(provide(&folder, &[], TERM).unwrap(), [Provided::Kept; 3]);
        assert_eq!(certificate(&folder, Role::Masker), first);
        assert_eq!(provide(&folder, &[], IssuePolicy { renew: true, ..TERM }).unwrap(), [Provided::New; 3]);
        assert_ne!(certificate(&folder, Role::Masker), first);
        assert_eq!(folder.authority().unwrap().certificate(), ca.certificate());
    }

    #[test]
    fn another_host_makes_new_certificates_for_those_that_serve() {
        let directory = tempfile::tempdir().unwrap();
        let folder = CertificateFolder::new(directory.path());
        provide(&folder, &[], TERM).unwrap();
        assert_eq!(
            provide(&folder, &["masker.example"], TERM).unwrap(),
            [Provided::Kept, Provided::New, Provided::New]
        );
        assert_eq!(provide(&folder, &["masker.example"], TERM).unwrap(), [Provided::Kept; 3]);
    }

    #[test]
    fn a_certificate_is_renewed_when_a_third_of_its_time_is_left() {
        let authority = Authority::new("ca").unwrap();
        let request = Role::Masker.request(&[]);
        let issued = authority.issue(&request).unwrap();
        let after = |share: f64| {
            let life = request.not_after.duration_since(request.not_before).unwrap();
            says(issued.certificate.as_bytes(), &request, request.not_before + life.mul_f64(share)).unwrap()
        };
        assert!(after(0.01) && after(0.65));
        assert!(!after(0.68) && !after(1.1));
    }

    #[test]
    fn a_certificate_of_another_ca_is_replaced_only_on_renewal() {
        let directory = tempfile::tempdir().unwrap();
        let folder = CertificateFolder::new(directory.path());
        provide(&folder, &[], TERM).unwrap();
        fs::remove_dir_all(directory.path().join(CA)).unwrap();
        let refusal = provide(&folder, &[], TERM).unwrap_err().to_string();
        assert!(refusal.contains("--renew"), "{refusal}");
        assert_eq!(provide(&folder, &[], IssuePolicy { renew: true, ..TERM }).unwrap(), [Provided::New; 3]);
    }

    #[test]
    fn only_the_owner_reads_keys() {
        let directory = tempfile::tempdir().unwrap();
        let folder = CertificateFolder::new(directory.path());
        provide(&folder, &[], TERM).unwrap();
        provide(&folder, &[], IssuePolicy { renew: true, ..TERM }).unwrap();
        let mode = |file: PathBuf| fs::metadata(file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(folder.of(Role::Reader).join(KEY)), 0o400);
        assert_eq!(mode(directory.path().join(CA).join(KEY)), 0o400);
        assert_eq!(mode(folder.of(Role::Reader)), 0o700);
    }
}
