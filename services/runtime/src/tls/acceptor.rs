//! A server's side of the TLS handshake: admits peers with a certificate of a known CA.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::server::danger::ClientCertVerifier;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::server::TlsStream;

use super::certificate::Certificate;
use super::connection::{TlsConnection, TlsPeer};
use super::credentials::Credentials;
use super::handshake_timeout::within_handshake_timeout;
use super::lifetime::untrusted_from_now;
use super::own_identity::Identity;
use super::recording_verifier::RecordingVerifier;
use super::refusal_reason::RefusalReason;
use super::refusals::Refusals;

/// Turns accepted TCP connections into TLS connections; clones share identity and refusals.
#[derive(Clone, Debug)]
pub(crate) struct TlsAcceptor {
    pub(crate) identity: Identity,
    pub(crate) refusals: Arc<Refusals>,
}

impl TlsAcceptor {
    /// The connection, or `None` when it is refused; the refusal has been counted and logged then.
    pub(crate) async fn admit(self, tcp: TcpStream, peer: SocketAddr) -> Option<TlsConnection> {
        let changes = self.identity.changes();
        let credentials = self.identity.current();
        let recording = RecordingVerifier::around(Arc::clone(&credentials.clients));
        let verifier: Arc<dyn ClientCertVerifier> = Arc::<RecordingVerifier<_>>::clone(&recording);
        let handshake = match credentials.server(verifier) {
            Ok(config) => shake_hands(tcp, tokio_rustls::TlsAcceptor::from(Arc::new(config))).await,
            Err(error) => Err(io::Error::other(error)),
        };
        match handshake {
            Ok(stream) => self.connection(stream, peer, changes),
            Err(error) => {
                let (reason, error) = (RefusalReason::of(&error), error.to_string());
                self.refusals.refused("connection", peer, recording.seen().as_ref(), reason, &error);
                None
            }
        }
    }

    fn connection(
        self,
        stream: TlsStream<TcpStream>,
        address: SocketAddr,
        changes: watch::Receiver<Arc<Credentials>>,
    ) -> Option<TlsConnection> {
        let chain: Vec<_> =
            stream.get_ref().1.peer_certificates()?.iter().map(|der| der.clone().into_owned()).collect();
        let certificate = Arc::new(Certificate::parse(chain.first()?)?);
        let peer = TlsPeer { address, certificate: Arc::clone(&certificate) };
        let refusals = self.refusals;
        Some(TlsConnection::new(stream, peer, async move {
            let (reason, why) = untrusted_from_now((*certificate).clone(), chain, changes).await;
            refusals.refused("open connection", address, Some(&certificate), reason, &why);
        }))
    }
}

async fn shake_hands(
    tcp: TcpStream,
    acceptor: tokio_rustls::TlsAcceptor,
) -> io::Result<TlsStream<TcpStream>> {
    tcp.set_nodelay(true)?;
    within_handshake_timeout(acceptor.accept(tcp)).await
}
