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

    /// What its directory is called, and the host that it is in a composed stack.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Masker => "masker",
            Self::Writer => "writer",
        }
    }

    /// The names by which it is known to those it calls and to those that call it, `hosts` among them; and only the usages
    /// that it has.
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
