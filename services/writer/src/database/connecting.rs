//! Why a connection cannot be made: where, what is wrong, and what to do.

use std::io;

use rustls::pki_types::InvalidDnsNameError;
use rustls::{CertificateError, Error as TlsError};
use sqlx::postgres::PgConnectOptions;

use super::DbError;
use super::tls::Tls;

/// What is connected to, for messages.
pub(super) struct Peer<'a> {
    options: &'a PgConnectOptions,
    tls: &'a Tls,
}

impl<'a> Peer<'a> {
    pub(super) fn new(options: &'a PgConnectOptions, tls: &'a Tls) -> Self {
        Self { options, tls }
    }

    /// Host and port, or the directory of the socket and the port in its name.
    fn place(&self) -> String {
        let (host, port) = (self.options.get_host(), self.options.get_port());
        match self.options.get_socket() {
            Some(socket) => format!("{} (port {port})", socket.display()),
            None if host.contains(':') => format!("[{host}]:{port}"),
            None => format!("{host}:{port}"),
        }
    }

    /// There was no answer in time.
    pub(super) fn silent(&self, seconds: u64) -> DbError {
        DbError::Connection(format!("{} does not answer within {seconds} s", self.place()))
    }

    /// A connection was not made.
    pub(super) fn failure(&self, error: sqlx::Error) -> DbError {
        let place = self.place();
        match error {
            sqlx::Error::Io(error) => self.io_failure(&error),
            sqlx::Error::Tls(error) => match error.downcast_ref::<TlsError>() {
                Some(error) => DbError::Refused(self.tls_failure(error)),
                None if error.is::<InvalidDnsNameError>() => DbError::Refused(format!(
                    "`{}` is not a name that a certificate can have; sslmode=verify-full needs one",
                    self.options.get_host()
                )),
                None => DbError::Refused(format!(
                    "TLS failed: the server at {place} has no TLS, which sslmode={} asks for: set ssl = on in its \
                     postgresql.conf, or write sslmode=disable if nobody else can reach the way to it ({error})",
                    self.tls.mode.name()
                )),
            },
            sqlx::Error::Protocol(_) => DbError::Refused(format!(
                "what answers at {place} does not speak as Postgres does: another service may listen there, so \
                 check host and port of the database's URL; or it asks for another login than a password, \
                 md5 or scram-sha-256"
            )),
            sqlx::Error::Configuration(_) => DbError::Refused(
                "sslcert and sslkey must be given together, and each must be a file in PEM".to_owned(),
            ),
            other => other.into(),
        }
    }

    fn io_failure(&self, error: &io::Error) -> DbError {
        let place = self.place();
        if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
            return DbError::Refused(self.tls_failure(error));
        }
        DbError::Connection(match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                format!(
                    "nobody listens at {place} ({error}): is Postgres running, and are host and port right?"
                )
            }
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => format!(
                "what listens at {place} closes the connection without an answer: another service may listen \
                 there, or Postgres is starting or stopping"
            ),
            _ => format!("{place} cannot be reached: {error}"),
        })
    }

    fn tls_failure(&self, error: &TlsError) -> String {
        let place = self.place();
        match error {
            TlsError::InvalidCertificate(error) => {
                let what = self.certificate_failure(error);
                format!("the certificate of the server at {place} {what} ({error})")
            }
            TlsError::AlertReceived(_) => format!(
                "the server at {place} ends the TLS handshake ({error}): it may ask for a client's certificate, \
                 as sslcert and sslkey give it"
            ),
            TlsError::InvalidMessage(_) => {
                format!("what answers at {place} does not speak TLS: another service may listen there")
            }
            other => format!("TLS with the server at {place} fails: {other}"),
        }
    }

    fn certificate_failure(&self, error: &CertificateError) -> String {
        let (mode, roots) = (self.tls.mode.name(), self.tls.roots());
        match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
                "is of none of the CAs in {roots}, and sslmode={mode} asks for one of them: name the CA's file with \
                 sslrootcert"
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => format!(
                "is not for the name {}, and sslmode=verify-full asks for that: connect by a name that is in the \
                 certificate, or write sslmode=verify-ca",
                self.options.get_host()
            ),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "has expired: renew it, or set this machine's clock right".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "is not valid yet: set this machine's clock right, or the server's certificate".to_owned()
            }
            _ => format!(
                "cannot be used; a certificate that is its own CA cannot be a server's: make one that the \
                 CA in {roots} signs"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::url::DatabaseUrl;
    use super::*;

    fn failure(url: &str, error: sqlx::Error) -> DbError {
        let url = DatabaseUrl::parse(url).unwrap();
        let options = url.options().unwrap();
        Peer::new(&options, url.tls()).failure(error)
    }

    fn tls(error: impl Into<TlsError>) -> sqlx::Error {
        sqlx::Error::Io(io::Error::new(io::ErrorKind::InvalidData, error.into()))
    }

    #[test]
    fn every_failure_says_where_and_what_and_shows_no_password() {
        let url = "postgres://u:s3cret@database:6543/d?sslmode=verify-full";
        for (error, is_refused, expected) in [
            (tls(CertificateError::UnknownIssuer), true, "none of the CAs in this machine's"),
            (tls(CertificateError::NotValidForName), true, "not for the name database"),
            (tls(CertificateError::Expired), true, "has expired"),
            (tls(rustls::InvalidMessage::InvalidContentType), true, "does not speak TLS"),
            (sqlx::Error::Tls("no TLS".into()), true, "ssl = on"),
            (sqlx::Error::Protocol("0x48".into()), true, "another service"),
            (sqlx::Error::Io(io::ErrorKind::UnexpectedEof.into()), false, "without an answer"),
            (sqlx::Error::Io(io::ErrorKind::ConnectionRefused.into()), false, "nobody listens"),
        ] {
            let failure = failure(url, error);
            assert_eq!(matches!(failure, DbError::Refused(_)), is_refused, "{failure}");
            let text = failure.to_string();
            assert!(text.contains(expected) && text.contains("database:6543"), "{text}");
            assert!(!text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn resets_and_ends_have_one_text_so_that_they_are_one_line_in_the_log() {
        let text = |kind: io::ErrorKind| failure("postgres://h/d", sqlx::Error::Io(kind.into())).to_string();
        assert_eq!(text(io::ErrorKind::ConnectionReset), text(io::ErrorKind::UnexpectedEof));
        assert_eq!(text(io::ErrorKind::BrokenPipe), text(io::ErrorKind::UnexpectedEof));
    }
}
