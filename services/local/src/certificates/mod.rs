//! Certificates for trials: a CA of one's own, and what it issues to the services.

mod authority;
mod folder;
mod role;

pub use authority::{Authority, IssuedCertificate, CertificateRequest};
pub use folder::{CertificateFolder, Provided, IssuePolicy};
pub use role::Role;
