//! Certificates for trials: a CA, and the certificates that it issues to the services.

mod authority;
mod folder;
mod role;

pub use authority::{Authority, CertificateRequest, IssuedCertificate};
pub use folder::{CertificateFolder, IssuePolicy, Provided};
pub use role::Role;
