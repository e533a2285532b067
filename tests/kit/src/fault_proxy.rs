//! A TCP proxy that fails as a network does: slow, silent, cut, half open, or with lost answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::acceptor::Acceptor;

/// Passes connections on to one address. Dropping it cuts them all.
#[derive(Debug)]
pub struct FaultProxy {
    acceptor: Acceptor,
    shared: Shared,
}

/// The condition that all connections of a proxy are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Clear,
    /// Every piece of data is this late.
    Slow(Duration),
    /// Data from the upstream is lost.
    AnswersLost,
    /// All data is lost, without an error.
    Silent,
}

/// A way to cut the connections that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Both sides get a reset.
    Reset,
    /// The upstream's side is closed; the client's side stays open and silent.
    UpstreamOnly,
    /// The client's side is closed; the upstream's side stays open and silent.
    DownstreamOnly,
}

/// What all connections of a proxy share.
#[derive(Clone, Debug)]
struct Shared {
    upstream: Arc<RwLock<SocketAddr>>,
    condition: watch::Sender<Condition>,
    cuts: watch::Sender<Cut>,
    hits: Arc<AtomicU64>,
}

impl FaultProxy {
    pub async fn before(upstream: SocketAddr) -> anyhow::Result<Self> {
        let shared = Shared {
            upstream: Arc::new(RwLock::new(upstream)),
            condition: watch::Sender::new(Condition::Clear),
            cuts: watch::Sender::new(Cut::Reset),
            hits: Arc::default(),
        };
        let of_connections = shared.clone();
        let serve = move |connection| carry(connection, of_connections.clone());
        Ok(Self { acceptor: Acceptor::start(serve).await?, shared })
    }

    pub fn address(&self) -> SocketAddr {
        self.acceptor.address()
    }

    /// From now on new connections go to another address.
    pub fn redirect(&self, upstream: SocketAddr) {
        *self.shared.upstream.write() = upstream;
    }

    /// From now on data from the upstream is lost; data to it still passes.
    pub fn lose_answers(&self) {
        self.shared.condition.send_replace(Condition::AnswersLost);
    }

    /// From now on answers pass again. A connection that has lost answers is cut at its next one.
    pub fn pass_answers(&self) {
        self.clear();
    }

    /// From now on every piece of data, in either direction, is this late.
    pub fn slow_down(&self, by: Duration) {
        self.shared.condition.send_replace(Condition::Slow(by));
    }

    /// From now on all data is lost without an error, and new connections are accepted and get no answer. A
    /// connection that has lost data stays silent for good.
    pub fn fall_silent(&self) {
        self.shared.condition.send_replace(Condition::Silent);
    }

    /// From now on everything passes.
    pub fn clear(&self) {
        self.shared.condition.send_replace(Condition::Clear);
    }

    /// Cuts every open connection.
    pub fn cut(&self, how: Cut) {
        self.shared.cuts.send_replace(how);
    }

    /// How many pieces were late or lost, and how many connections were cut, so far.
    pub fn hits(&self) -> u64 {
        self.shared.hits.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn condition(&self) -> Condition {
        *self.condition.borrow()
    }

    fn hit(&self) {
        self.hits.fetch_add(1, Ordering::SeqCst);
    }
}

/// One connection, from its acceptance to its end.
async fn carry(mut downstream: TcpStream, shared: Shared) {
    if shared.condition() == Condition::Silent {
        shared.hit();
        return swallow(&mut downstream).await;
    }
    let upstream = *shared.upstream.read();
    let Ok(mut upstream) = TcpStream::connect(upstream).await else {
        downstream.set_zero_linger().ok();
        return;
    };
    for side in [&downstream, &upstream] {
        side.set_nodelay(true).ok();
    }
    match pass(&mut downstream, &mut upstream, &shared).await {
        End::Over => {}
        End::Silenced => {
            tokio::join!(swallow(&mut downstream), swallow(&mut upstream));
        }
        End::Cut(Cut::Reset) => {
            downstream.set_zero_linger().ok();
            upstream.set_zero_linger().ok();
        }
        End::Cut(Cut::UpstreamOnly) => {
            drop(upstream);
            swallow(&mut downstream).await;
        }
        End::Cut(Cut::DownstreamOnly) => {
            drop(downstream);
            swallow(&mut upstream).await;
        }
    }
}

/// Why a connection no longer passes data on.
enum End {
    Over,
    Silenced,
    Cut(Cut),
}

/// Ends both directions as soon as one is over.
async fn pass(downstream: &mut TcpStream, upstream: &mut TcpStream, shared: &Shared) -> End {
    let mut cuts = shared.cuts.subscribe();
    let (from_client, to_client) = downstream.split();
    let (from_server, to_server) = upstream.split();
    tokio::select! {
        end = pump(from_server, to_client, shared, true) => end,
        end = pump(from_client, to_server, shared, false) => end,
        changed = cuts.changed() => match changed {
            Ok(()) => {
                shared.hit();
                End::Cut(*cuts.borrow())
            }
            Err(_) => End::Over,
        },
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    shared: &Shared,
    answers: bool,
) -> End {
    let mut buffer = vec![0; 16 * 1024];
    let mut lost = false;
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let Some(piece) = buffer.get(..read) else { break };
        match shared.condition() {
            Condition::Silent => {
                shared.hit();
                return End::Silenced;
            }
            Condition::AnswersLost if answers => {
                shared.hit();
                lost = true;
            }
            Condition::Slow(by) => {
                shared.hit();
                tokio::time::sleep(by).await;
            }
            Condition::AnswersLost | Condition::Clear if lost => return End::Over,
            Condition::AnswersLost | Condition::Clear => {}
        }
        if !lost && to.write_all(piece).await.is_err() {
            break;
        }
    }
    End::Over
}

/// Reads and discards data until the peer closes.
async fn swallow(side: &mut TcpStream) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(1..) = side.read(&mut buffer).await {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;

    const SOON: Duration = Duration::from_secs(5);

    /// An echo server behind a proxy, and a connection through it.
    async fn echo() -> (FaultProxy, TcpStream, JoinSet<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = FaultProxy::before(listener.local_addr().unwrap()).await.unwrap();
        let mut server = JoinSet::new();
        server.spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let (mut from, mut to) = connection.split();
                tokio::io::copy(&mut from, &mut to).await.ok();
            }
        });
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(said(&mut client).await.unwrap(), 1, "an echo");
        (proxy, client, server)
    }

    /// Sends one byte and reads the answer: its length, or an error.
    async fn said(client: &mut TcpStream) -> std::io::Result<usize> {
        client.write_all(b"x").await?;
        let mut answer = [0; 8];
        match tokio::time::timeout(Duration::from_millis(300), client.read(&mut answer)).await {
            Ok(read) => read,
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        }
    }

    #[tokio::test]
    async fn the_client_sees_a_reset() {
        let (proxy, mut client, _server) = echo().await;
        proxy.cut(Cut::Reset);
        let read = tokio::time::timeout(SOON, client.read(&mut [0; 8])).await.unwrap();
        assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!(proxy.hits(), 1);
        let mut another = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(said(&mut another).await.unwrap(), 1, "the upstream was told of the end");
    }

    #[tokio::test]
    async fn a_half_open_connection_takes_everything_and_answers_nothing() {
        let (proxy, mut client, _server) = echo().await;
        proxy.cut(Cut::UpstreamOnly);
        for _ in 0..3 {
            assert_eq!(said(&mut client).await.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        }
        let mut another = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(said(&mut another).await.unwrap(), 1, "the upstream was told of the end");
    }

    #[tokio::test]
    async fn a_silent_proxy_silences_old_connections_for_good_and_new_ones_while_it_lasts() {
        let (proxy, mut client, _server) = echo().await;
        proxy.fall_silent();
        let mut new = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(said(&mut new).await.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        assert_eq!(said(&mut client).await.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        proxy.clear();
        assert_eq!(said(&mut client).await.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        assert_eq!(proxy.hits(), 2);
    }

    #[tokio::test]
    async fn a_redirected_proxy_takes_new_connections_elsewhere() {
        let (proxy, mut client, _server) = echo().await;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        proxy.redirect(listener.local_addr().unwrap());
        let _new = TcpStream::connect(proxy.address()).await.unwrap();
        tokio::time::timeout(SOON, listener.accept()).await.unwrap().unwrap();
        assert_eq!(said(&mut client).await.unwrap(), 1, "an old connection stays where it is");
    }

    #[tokio::test]
    async fn a_slow_proxy_loses_no_data() {
        let (proxy, mut client, _server) = echo().await;
        proxy.slow_down(Duration::from_millis(20));
        assert_eq!(said(&mut client).await.unwrap(), 1);
        assert_eq!(proxy.hits(), 2, "there and back");
    }

    #[tokio::test]
    async fn a_connection_that_has_lost_answers_is_cut_at_the_next_one() {
        let (proxy, mut client, _server) = echo().await;
        proxy.lose_answers();
        assert_eq!(said(&mut client).await.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        proxy.pass_answers();
        assert_eq!(said(&mut client).await.unwrap_or_default(), 0);
    }
}
