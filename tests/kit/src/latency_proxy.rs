//! A TCP proxy that delays answers, as a distant server does, and still carries as many bytes.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::acceptor::Acceptor;

/// Pieces of answers in flight on one connection.
const ON_THE_WAY: usize = 256;
const PIECE: usize = 64 * 1024;

/// Dropping it ends its connections.
#[derive(Debug)]
pub struct LatencyProxy {
    acceptor: Acceptor,
}

impl LatencyProxy {
    /// Delays what `upstream` answers.
    pub async fn before(upstream: SocketAddr, delay: Duration) -> anyhow::Result<Self> {
        let serve = move |connection| carry(connection, upstream, delay);
        Ok(Self { acceptor: Acceptor::start(serve).await? })
    }

    pub fn address(&self) -> SocketAddr {
        self.acceptor.address()
    }
}

async fn carry(client: TcpStream, upstream: SocketAddr, delay: Duration) {
    let Ok(upstream) = TcpStream::connect(upstream).await else { return };
    if client.set_nodelay(true).is_err() || upstream.set_nodelay(true).is_err() {
        return;
    }
    let (mut asks, answers) = client.into_split();
    let (late_answers, mut asked) = upstream.into_split();
    tokio::select! {
        _ = tokio::io::copy(&mut asks, &mut asked) => {}
        _ = carry_late(late_answers, answers, delay) => {}
    }
}

async fn carry_late(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) -> std::io::Result<()> {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
    let read = async move {
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            if from.read_buf(&mut piece).await? == 0
                || sender.send((Instant::now() + delay, piece)).await.is_err()
            {
                return Ok(());
            }
        }
    };
    let write = async {
        while let Some((due, piece)) = pieces.recv().await {
            sleep_until(due).await;
            to.write_all(&piece).await?;
        }
        Ok(())
    };
    tokio::try_join!(read, write).map(|((), ())| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn answers_come_late_and_whole_and_in_their_order() {
        let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = echo.local_addr().unwrap();
        let echoing = async {
            let (mut stream, _) = echo.accept().await.unwrap();
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await.ok();
        };
        let delay = Duration::from_millis(50);
        let asking = async {
            let proxy = LatencyProxy::before(upstream, delay).await.unwrap();
            let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
            let sent: Vec<u8> = (0..200_000_u32).map(|byte| u8::try_from(byte % 251).unwrap()).collect();
            let began = Instant::now();
            stream.write_all(&sent).await.unwrap();
            let mut received = vec![0; sent.len()];
            stream.read_exact(&mut received).await.unwrap();
            assert!(began.elapsed() >= delay && received == sent);
        };
        tokio::join!(echoing, asking);
    }
}
