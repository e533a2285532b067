//! Accepts connections, each handshake in a task of its own, so that a slow or hostile peer delays nobody.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::connection_limit::{ConnectionLimit, PermittedConnection};
use crate::telemetry::OutageLog;
use crate::tls::{Refusals, within_handshake_timeout};

/// Handshakes at once. One more ends the oldest: an honest handshake takes milliseconds, so the oldest one is
/// most likely a peer that only holds a connection.
const MAX_HANDSHAKES: usize = 128;

/// The pause after a failed accept, which most likely means that file descriptors have run out.
const PAUSE: Duration = Duration::from_millis(200);

/// Passes on the connections that `admit` makes and that the limit permits; never returns. `admit` itself
/// logs what it refuses.
pub(crate) async fn accept<C, F>(
    listener: TcpListener,
    refusals: Arc<Refusals>,
    established: mpsc::Sender<io::Result<PermittedConnection<C>>>,
    admit: impl Fn(TcpStream, SocketAddr) -> F,
) where
    C: Send + 'static,
    F: Future<Output = Option<C>> + Send + 'static,
{
    let limit = ConnectionLimit::default();
    let mut handshakes = Handshakes::default();
    let outage = OutageLog::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = handshakes.tasks.join_next() => continue,
        };
        match accepted {
            Ok((tcp, peer)) => {
                if outage.note_success() {
                    tracing::info!("accepting connections again");
                }
                handshakes.make_room(&refusals);
                let admitted = admit(tcp, peer);
                let (established, limit, refusals) =
                    (established.clone(), limit.clone(), Arc::clone(&refusals));
                handshakes.start(peer, async move {
                    let Some(connection) = admitted.await else { return };
                    match limit.permit(peer.ip()) {
                        // An error says that the server has ended.
                        Some(permit) => {
                            drop(established.send(Ok(PermittedConnection::new(connection, permit))).await);
                        }
                        None => refusals.crowded(peer, "too many connections at once"),
                    }
                });
            }
            Err(error) => {
                if outage.note_failure(&error) {
                    tracing::warn!(%error, "cannot accept connections; trying again");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The first byte of every TLS client.
const TLS_HANDSHAKE: u8 = 0x16;

/// Waits until the peer sends something, as every HTTP/2 client does first: a peer that only connects takes
/// no permit. A peer that begins with TLS is refused.
pub(crate) async fn await_first_byte(
    tcp: TcpStream,
    peer: SocketAddr,
    refusals: Arc<Refusals>,
) -> Option<TcpStream> {
    let first = async {
        tcp.set_nodelay(true)?;
        let mut byte = [0];
        match tcp.peek(&mut byte).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(byte == [TLS_HANDSHAKE]),
        }
    };
    match within_handshake_timeout(first).await {
        Ok(false) => Some(tcp),
        Ok(true) => {
            refusals.unexpected_tls(peer);
            None
        }
        Err(error) => {
            refusals.unheard(peer, &error);
            None
        }
    }
}

/// The handshakes under way, oldest first; some may be over.
#[derive(Default)]
struct Handshakes {
    tasks: JoinSet<()>,
    oldest_first: VecDeque<(AbortHandle, SocketAddr)>,
}

impl Handshakes {
    fn start(&mut self, peer: SocketAddr, handshake: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(handshake);
        self.oldest_first.push_back((task, peer));
    }

    fn make_room(&mut self, refusals: &Refusals) {
        if self.oldest_first.len() < MAX_HANDSHAKES {
            return;
        }
        self.oldest_first.retain(|(task, _)| !task.is_finished());
        if self.oldest_first.len() >= MAX_HANDSHAKES
            && let Some((task, peer)) = self.oldest_first.pop_front()
        {
            task.abort();
            refusals.crowded(peer, "too many handshakes at once");
        }
    }
}
