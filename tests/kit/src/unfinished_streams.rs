//! A gRPC client that opens streams on one connection and leaves them unfinished.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
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

    /// Opens a stream for the method `path`. The peer may refuse it.
    pub async fn open(&mut self, path: &str) -> anyhow::Result<()> {
        let ready = std::future::poll_fn(|context| self.client.poll_ready(context));
        match tokio::time::timeout(PATIENCE, ready).await {
            Ok(ready) => ready.context("the connection is closed")?,
            Err(_) => anyhow::bail!("the client waits for a stream to end"),
        }
        let request = http::Request::post(format!("http://{}{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        self.streams.push(self.client.send_request(request.body(())?, false)?);
        Ok(())
    }

    /// Sends the first `length` bytes of a message of `claimed` bytes on every stream, and waits until the
    /// peer has taken them, or takes no more.
    pub async fn send_parts(&mut self, claimed: u32, length: usize) {
        for (_, stream) in &mut self.streams {
            let mut part = BytesMut::with_capacity(5 + length);
            part.put_u8(0);
            part.put_u32(claimed);
            part.resize(5 + length, 0);
            // An error means that the peer has ended the stream already.
            if stream.send_data(part.freeze(), false).is_ok() {
                stream.reserve_capacity(1);
            }
        }
        let all_taken = async {
            for (_, stream) in &mut self.streams {
                // An error means that the peer has refused.
                drop(std::future::poll_fn(|context| stream.poll_capacity(context)).await);
            }
        };
        // A timeout means that the peer takes no more.
        drop(tokio::time::timeout(PATIENCE * 10, all_taken).await);
    }

    /// Resets the newest stream.
    pub fn reset(&mut self) {
        if let Some((_, mut stream)) = self.streams.pop() {
            stream.send_reset(Reason::CANCEL);
        }
    }
}

/// Opens `count` streams for the method `path` on one connection, without regard for what the peer allows,
/// and counts those that it refuses. They stay open until the peer has refused some and then says nothing
/// more.
pub async fn refused_streams(address: SocketAddr, path: &str, count: u32) -> anyhow::Result<usize> {
    let mut stream = TcpStream::connect(address).await?;
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    sent.extend(raw_frame(SETTINGS, 0, 0, &[]));
    for number in 0..count {
        sent.extend(raw_frame(HEADERS, END_HEADERS, 2 * number + 1, &headers(path)));
    }
    stream.write_all(&sent).await?;
    let mut refused = 0;
    loop {
        let mut head = [0; 9];
        let next = tokio::time::timeout(PATIENCE * 5, stream.read_exact(&mut head));
        // The peer closes the connection when nobody answers its pings.
        if !matches!(next.await, Ok(Ok(_))) {
            return Ok(refused);
        }
        let [a, b, c, kind, ..] = head;
        let mut content = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c]))?];
        stream.read_exact(&mut content).await?;
        if kind == RST_STREAM && content == u32::from(Reason::REFUSED_STREAM).to_be_bytes() {
            refused += 1;
        }
    }
}

/// <https://www.rfc-editor.org/rfc/rfc9113#section-6>
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const END_HEADERS: u8 = 4;

fn raw_frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut frame = length.get(1..).unwrap_or_default().to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(content);
    frame
}

/// The headers of a call, each as a literal of RFC 7541 but for method and scheme, which its table has.
fn headers(path: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    let pairs =
        [(":path", path), (":authority", "test"), ("content-type", "application/grpc"), ("te", "trailers")];
    for (name, value) in pairs {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
            block.extend(text.as_bytes());
        }
    }
    block
}
