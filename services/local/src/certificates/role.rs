//! The three services as holders of certificates.

use super::CertificateRequest;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Reader,
    Masker,
    Writer,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Reader, Self::Masker, Self::Writer];

    /// The name of its directory, and of its host in the composed stack.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Masker => "masker",
            Self::Writer => "writer",
        }
    }

    /// A certificate for its own name, the usual host names and `hosts`, with only the usages that the
    /// service needs.
    pub fn request(self, hosts: &[String]) -> CertificateRequest {
        let mut names = vec![format!("veilpost-{}", self.name())];
        let serves = self != Self::Reader;
        if serves {
            let usual = [self.name(), "localhost", "127.0.0.1", "::1"].map(str::to_owned);
            names.extend(usual.into_iter().chain(hosts.iter().cloned()));
        }
        CertificateRequest {
            names,
            server: serves,
            client: self != Self::Writer,
            ..CertificateRequest::default()
        }
    }
}
