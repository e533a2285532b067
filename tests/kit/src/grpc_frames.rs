//! A gRPC client that sends the frames that a test gives it, valid or not.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::{ResponseFuture, SendRequest};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How long a peer may take to answer or refuse.
const PATIENCE: Duration = Duration::from_secs(30);

/// One message of a stream as it is on the wire: its compressed flag, the length in its header, and its
/// bytes.
#[derive(Clone, Debug)]
pub struct GrpcFrame {
    pub compressed: bool,
    pub claimed: u32,
    pub content: Bytes,
}

impl GrpcFrame {
    /// An uncompressed frame with the right length.
    pub fn of(content: impl Into<Bytes>) -> Self {
        let content = content.into();
        let claimed = u32::try_from(content.len()).unwrap_or(u32::MAX);
        Self { compressed: false, claimed, content }
    }

    fn encode(&self) -> Bytes {
        let mut encoded = BytesMut::with_capacity(5 + self.content.len());
        encoded.put_u8(self.compressed.into());
        encoded.put_u32(self.claimed);
        encoded.put_slice(&self.content);
        encoded.freeze()
    }
}

/// Opens a stream on a new connection, sends all frames, and closes its side. Returns the gRPC status with
/// which the peer ends the stream, if there is one.
pub async fn send_frames(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    frames: &[GrpcFrame],
) -> anyhow::Result<Option<i32>> {
    let (client, connection) = h2::client::handshake(TcpStream::connect(address).await?).await?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let ended = tokio::time::timeout(PATIENCE, send_frames_on(client, address, path, headers, frames)).await;
    ended.context("the peer neither answers nor refuses")?
}

async fn send_frames_on(
    client: SendRequest<Bytes>,
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    frames: &[GrpcFrame],
) -> anyhow::Result<Option<i32>> {
    let mut request = http::Request::post(format!("http://{address}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut client = client.ready().await?;
    let (response, mut stream) = client.send_request(request.body(())?, false)?;
    for frame in frames {
        // An error means that the peer has refused already.
        if stream.send_data(frame.encode(), false).is_err() {
            break;
        }
    }
    let _refused = stream.send_data(Bytes::new(), true);
    Ok(status(response).await.unwrap_or_default())
}

/// The status in headers or trailers; an error when the stream is reset.
async fn status(response: ResponseFuture) -> Result<Option<i32>, h2::Error> {
    let (head, mut body) = response.await?.into_parts();
    let in_head = code(&head.headers);
    if in_head.is_some() {
        return Ok(in_head);
    }
    Ok(trailers(&mut body).await?.as_ref().and_then(code))
}

async fn trailers(body: &mut RecvStream) -> Result<Option<http::HeaderMap>, h2::Error> {
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data?.len())?;
    }
    body.trailers().await
}

fn code(headers: &http::HeaderMap) -> Option<i32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}
