//! A proxy that delays each answer of the queue, as a distant queue does.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Pieces of answers that are on their way on one connection.
const ON_THE_WAY: usize = 256;
const PIECE: usize = 64 * 1024;

/// Dropping it ends its connections.
#[derive(Debug)]
pub(crate) struct LatencyProxy {
    pub(crate) endpoint: String,
    _connections: JoinSet<()>,
}

impl LatencyProxy {
    /// Stands before the queue at `endpoint`.
    pub(crate) async fn before(endpoint: &str, delay: Duration) -> anyhow::Result<Self> {
        let address = endpoint.strip_prefix("http://").unwrap_or(endpoint).parse()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let mut connections = JoinSet::new();
        connections.spawn(accept(listener, address, delay));
        Ok(Self { endpoint, _connections: connections })
    }
}

async fn accept(listener: TcpListener, queue: SocketAddr, delay: Duration) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(carry(client, queue, delay));
        while connections.try_join_next().is_some() {}
    }
}

/// Until one of both ends it.
async fn carry(client: TcpStream, queue: SocketAddr, delay: Duration) {
    let Ok(queue) = TcpStream::connect(queue).await else { return };
    if client.set_nodelay(true).is_err() || queue.set_nodelay(true).is_err() {
        return;
    }
    let (mut asks, answers) = client.into_split();
    let (late_answers, mut asked) = queue.into_split();
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

    #[tokio::test]
    async fn answers_come_late_and_whole_and_in_their_order() {
        let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", echo.local_addr().unwrap());
        let echoing = async {
            let (mut stream, _) = echo.accept().await.unwrap();
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await.ok();
        };
        let delay = Duration::from_millis(50);
        let asking = async {
            let proxy = LatencyProxy::before(&endpoint, delay).await.unwrap();
            let mut stream = TcpStream::connect(proxy.endpoint.trim_start_matches("http://")).await.unwrap();
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
