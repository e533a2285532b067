//! Accepts connections and shakes hands with each in a task of its own, so that a slow or hostile peer delays nobody.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::danger::ClientCertVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificate::Certificate;
use super::connection::{Connection, Peer};
use super::credentials::Credentials;
use super::refusal::Reason;
use super::trust::distrust;
use super::witness::Witness;
use super::{Identity, Refusals};

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Handshakes at once. One more ends the oldest: an honest one takes milliseconds, so whoever is oldest is not in earnest.
const HANDSHAKES: usize = 128;

/// After an error, which is most likely a lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(200);

/// Passes on connections of peers that have a certificate of a known CA; never returns.
pub(crate) async fn accept(
    listener: TcpListener,
    identity: Identity,
    refusals: Arc<Refusals>,
    established: mpsc::Sender<io::Result<Connection>>,
) {
    let mut handshakes = Handshakes::default();
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = handshakes.tasks.join_next() => continue,
        };
        match accepted {
            Ok((tcp, peer)) => {
                failing = false;
                handshakes.make_room(&refusals);
                let door = Door { identity: identity.clone(), refusals: Arc::clone(&refusals) };
                let established = established.clone();
                handshakes.start(peer, async move {
                    if let Some(connection) = door.admit(tcp, peer).await {
                        // An error says that the server has ended.
                        let _ended = established.send(Ok(connection)).await;
                    }
                });
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "cannot accept connections; trying again");
                }
                failing = true;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The handshakes under way, oldest first; some may be over.
#[derive(Default)]
struct Handshakes {
    tasks: JoinSet<()>,
    queue: VecDeque<(AbortHandle, SocketAddr)>,
}

impl Handshakes {
    fn start(&mut self, peer: SocketAddr, handshake: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(handshake);
        self.queue.push_back((task, peer));
    }

    fn make_room(&mut self, refusals: &Refusals) {
        if self.queue.len() < HANDSHAKES {
            return;
        }
        self.queue.retain(|(task, _)| !task.is_finished());
        if self.queue.len() >= HANDSHAKES
            && let Some((task, peer)) = self.queue.pop_front()
        {
            task.abort();
            refusals.refused("connection", peer, None, Reason::Crowded, "too many handshakes at once");
        }
    }
}

struct Door {
    identity: Identity,
    refusals: Arc<Refusals>,
}

impl Door {
    async fn admit(self, tcp: TcpStream, peer: SocketAddr) -> Option<Connection> {
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
    timeout(HANDSHAKE_TIMEOUT, acceptor.accept(tcp)).await.unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, "the handshake was not over in time"))
    })
}
