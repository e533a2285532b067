//! Why a peer was refused, as a fixed set of words that serve as a metric's label.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum RefusalReason {
    NoCertificate,
    UnknownCa,
    Expired,
    NotYetValid,
    WrongRole,
    WrongName,
    BadCertificate,
    NotTls,
    /// The peer speaks TLS to a port that does not.
    UnexpectedTls,
    RefusedByPeer,
    TooSlow,
    Crowded,
    /// The peer left before it had sent anything, as port scanners and probes do.
    Left,
    Other,
}

impl RefusalReason {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::NoCertificate => "no-certificate",
            Self::UnknownCa => "unknown-ca",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::WrongRole => "wrong-role",
            Self::WrongName => "wrong-name",
            Self::BadCertificate => "bad-certificate",
            Self::NotTls => "not-tls",
            Self::UnexpectedTls => "unexpected-tls",
            Self::RefusedByPeer => "refused-by-peer",
            Self::TooSlow => "too-slow",
            Self::Crowded => "crowded",
            Self::Left => "left",
            Self::Other => "other",
        }
    }

    /// The reason for which a handshake ended.
    pub(super) fn of(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(error) => Self::of_tls(error),
            None => match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe => Self::Left,
                io::ErrorKind::TimedOut => Self::TooSlow,
                _ => Self::Other,
            },
        }
    }

    pub(super) fn of_tls(error: &Error) -> Self {
        match error {
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::InvalidCertificate(error) => Self::of_certificate(error),
            Error::InvalidMessage(_) => Self::NotTls,
            Error::AlertReceived(alert) => Self::of_alert(*alert),
            _ => Self::Other,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            // A CA of the same name with another key looks like a bad signature.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownCa,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName
            }
            _ => Self::BadCertificate,
        }
    }

    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::CloseNotify | AlertDescription::UserCanceled => Self::Left,
            _ => Self::RefusedByPeer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_of_a_handshake_has_a_reason() {
        let tls = |error| RefusalReason::of(&io::Error::new(io::ErrorKind::InvalidData, error));
        assert_eq!(tls(Error::NoCertificatesPresented), RefusalReason::NoCertificate);
        assert_eq!(tls(CertificateError::UnknownIssuer.into()), RefusalReason::UnknownCa);
        assert_eq!(tls(CertificateError::Expired.into()), RefusalReason::Expired);
        assert_eq!(tls(CertificateError::NotValidYet.into()), RefusalReason::NotYetValid);
        assert_eq!(tls(Error::AlertReceived(AlertDescription::BadCertificate)), RefusalReason::RefusedByPeer);
        assert_eq!(tls(rustls::InvalidMessage::InvalidContentType.into()), RefusalReason::NotTls);
        assert_eq!(RefusalReason::of(&io::ErrorKind::UnexpectedEof.into()), RefusalReason::Left);
    }
}
