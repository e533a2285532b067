//! A gRPC client that opens streams on one connection and leaves them unfinished.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How long the peer may take to allow a stream or to take what is sent; it does so at once or not at all.
const PATIENCE: Duration = Duration::from_secs(1);

/// One connection and its streams; dropping it closes them.
#[derive(Debug)]
pub struct UnfinishedStreams {
    client: SendRequest<Bytes>,
    address: SocketAddr,
    streams: Vec<(ResponseFuture, SendStream<Bytes>)>,
    _connection: JoinSet<Result<(), h2::Error>>,
}

impl UnfinishedStreams {
    pub async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let (client, connection) = h2::client::handshake(TcpStream::connect(address).await?).await?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        Ok(Self { client, address, streams: Vec::new(), _connection: driver })
    }

    /// Opens a stream for the method `path`; false when the peer allows no further one.
    pub async fn open(&mut self, path: &str) -> anyhow::Result<bool> {
        let Ok(ready) = tokio::time::timeout(PATIENCE, self.client.clone().ready()).await else {
            return Ok(false);
        };
        let request = http::Request::post(format!("http://{}{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        self.client = ready.context("the connection is closed")?;
        self.streams.push(self.client.send_request(request.body(())?, false)?);
        // A stream over the peer's limit waits inside the client, which is ready again only without one.
        Ok(tokio::time::timeout(PATIENCE, self.client.clone().ready()).await.is_ok())
    }

    /// Sends the first `length` bytes of a message of `claimed` bytes on every stream, and waits until the
    /// peer has taken them, or takes no more.
    pub async fn send_parts(&mut self, claimed: u32, length: usize) -> anyhow::Result<()> {
        for (_, stream) in &mut self.streams {
            let mut part = BytesMut::with_capacity(5 + length);
            part.put_u8(0);
            part.put_u32(claimed);
            part.resize(5 + length, 0);
            stream.send_data(part.freeze(), false)?;
            stream.reserve_capacity(1);
        }
        for (_, stream) in &mut self.streams {
            let taken = std::future::poll_fn(|context| stream.poll_capacity(context));
            // An error says that the peer has refused, a timeout that it takes no more.
            drop(tokio::time::timeout(PATIENCE, taken).await);
        }
        Ok(())
    }

    /// Resets the newest stream.
    pub fn reset(&mut self) {
        if let Some((_, mut stream)) = self.streams.pop() {
            stream.send_reset(Reason::CANCEL);
        }
    }
}
