//! The door of a server with TLS: shakes hands, and lets in who has a certificate of a known CA.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::server::danger::ClientCertVerifier;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificate::Certificate;
use super::connection::{Connection, Peer};
use super::credentials::Credentials;
use super::refusal::Reason;
use super::trust::distrust;
use super::witness::Witness;
use super::{Identity, Refusals};
use crate::accept::in_time;

#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) identity: Identity,
    pub(crate) refusals: Arc<Refusals>,
}

impl Door {
    /// The connection, unless it is refused, which is told then.
    pub(crate) async fn admit(self, tcp: TcpStream, peer: SocketAddr) -> Option<Connection> {
        let changes = self.identity.changes();
        let credentials = self.identity.current();
        let witness = Witness::before(Arc::clone(&credentials.clients));
        let verifier: Arc<dyn ClientCertVerifier> = Arc::<Witness<_>>::clone(&witness);
        let shaken = match credentials.server(verifier) {
            Ok(config) => shake_hands(tcp, TlsAcceptor::from(Arc::new(config))).await,
            Err(error) => Err(io::Error::other(error)),
        };
        match shaken {
            Ok(stream) => self.connection(stream, peer, changes),
            Err(error) => {
                let (reason, error) = (Reason::of(&error), error.to_string());
                self.refusals.refused("connection", peer, witness.seen().as_ref(), reason, &error);
                None
            }
        }
    }

    fn connection(
        self,
        stream: TlsStream<TcpStream>,
        address: SocketAddr,
        changes: watch::Receiver<Arc<Credentials>>,
    ) -> Option<Connection> {
        let chain: Vec<_> =
            stream.get_ref().1.peer_certificates()?.iter().map(|der| der.clone().into_owned()).collect();
        let certificate = Arc::new(Certificate::parse(chain.first()?)?);
        let peer = Peer { address, certificate: Arc::clone(&certificate) };
        let refusals = self.refusals;
        Some(Connection::new(stream, peer, async move {
            let (reason, why) = distrust((*certificate).clone(), chain, changes).await;
            refusals.refused("open connection", address, Some(&certificate), reason, &why);
        }))
    }
}

async fn shake_hands(tcp: TcpStream, acceptor: TlsAcceptor) -> io::Result<TlsStream<TcpStream>> {
    tcp.set_nodelay(true)?;
    in_time(acceptor.accept(tcp)).await
}
