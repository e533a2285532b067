//! Accepts connections and hears each out in a task of its own, so that a slow or hostile peer delays nobody.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::places::{Places, Seated};
use crate::tls::Refusals;

/// How long a handshake may take; without TLS, how long the first byte may.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Handshakes at once. One more ends the oldest: an honest one takes milliseconds, so whoever is oldest is not in earnest.
const HANDSHAKES: usize = 128;

/// After an error, which is most likely a lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(200);

/// Passes on the connections that `admit` makes and that there is a place for; never returns. What `admit` refuses it tells.
pub(crate) async fn accept<C, F>(
    listener: TcpListener,
    refusals: Arc<Refusals>,
    established: mpsc::Sender<io::Result<Seated<C>>>,
    admit: impl Fn(TcpStream, SocketAddr) -> F,
) where
    C: Send + 'static,
    F: Future<Output = Option<C>> + Send + 'static,
{
    let places = Places::default();
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
                let admitted = admit(tcp, peer);
                let (established, places, refusals) =
                    (established.clone(), places.clone(), Arc::clone(&refusals));
                handshakes.start(peer, async move {
                    let Some(connection) = admitted.await else { return };
                    match places.take(peer.ip()) {
                        // An error says that the server has ended.
                        Some(place) => drop(established.send(Ok(Seated::new(connection, place))).await),
                        None => refusals.crowded(peer, "too many connections at once"),
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

/// Waits until the peer says something, as every client of HTTP/2 does first: who only connects gets no place.
pub(crate) async fn hear(tcp: TcpStream, peer: SocketAddr, refusals: Arc<Refusals>) -> Option<TcpStream> {
    let first = async {
        tcp.set_nodelay(true)?;
        match tcp.peek(&mut [0]).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    };
    match in_time(first).await {
        Ok(()) => Some(tcp),
        Err(error) => {
            refusals.unheard(peer, &error);
            None
        }
    }
}

/// Bounds a handshake.
pub(crate) async fn in_time<T>(handshake: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(HANDSHAKE_TIMEOUT, handshake).await.unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, "the handshake was not over in time"))
    })
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
            refusals.crowded(peer, "too many handshakes at once");
        }
    }
}
