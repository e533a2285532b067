//! Opens a stream to one address.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::BoxFuture;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status, Streaming};
use veilpost_proto::v1::Receipt;

use super::codec::SharedCodec;
use super::dispatcher::MAX_UNRECEIPTED_BATCHES;
use super::downstream::Downstream;
use super::feature::Feature;
use super::first_bytes::NotedStream;
use super::network::{Connection, Network};
use crate::server::{CONNECTION_WINDOW, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, STREAM_WINDOW};

/// How long the peer may take to accept a stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// The peer refuses what the stream is opened with, with its reason. Trying again helps only once one of the
/// two has changed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct OpeningRefused(pub(super) String);

/// A stream that the peer has accepted.
pub(super) struct OpenedStream<B> {
    pub(super) sender: mpsc::Sender<Arc<B>>,
    pub(super) receipts: Streaming<Receipt>,
    /// Whether the peer takes rejected records and claims their keys.
    pub(super) claims: bool,
    /// Resolves, with the reason, when the stream should be replaced.
    pub(super) renewal: BoxFuture<'static, &'static str>,
}

/// Opens a stream to `address`, which `host` resolves to.
pub(super) async fn open<D: Downstream, N: Network>(
    downstream: &D,
    network: &N,
    address: SocketAddr,
    host: &str,
) -> anyhow::Result<OpenedStream<D::Batch>> {
    let Connection { stream, origin, renewal } = network.connect(address, host).await?;
    let (stream, first_bytes) = NotedStream::new(stream);
    let is_tls = origin.scheme_str() == Some("https");
    let opened = open_on(downstream, channel(address, stream, origin).await?, renewal).await;
    opened.map_err(|error| match first_bytes.wrong_peer(is_tls) {
        // The error itself depends on which end closes first.
        Some(wrong) if !error.is::<OpeningRefused>() => anyhow::anyhow!(wrong),
        _ => error,
    })
}

async fn open_on<D: Downstream>(
    downstream: &D,
    channel: Channel,
    renewal: BoxFuture<'static, &'static str>,
) -> anyhow::Result<OpenedStream<D::Batch>> {
    let (sender, batches) = mpsc::channel(MAX_UNRECEIPTED_BATCHES + 1);
    if let Some(opening) = downstream.opening() {
        sender.send(Arc::new(opening)).await.context("the stream's own queue is closed")?;
    }
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.context("the connection is not usable")?;
    let mut request = Request::new(ReceiverStream::new(batches));
    for feature in D::ANNOUNCED {
        feature.announce(request.metadata_mut());
    }
    let call = grpc.streaming(
        request,
        PathAndQuery::from_static(D::METHOD),
        SharedCodec::<D::Batch, Receipt>::new(),
    );
    let response =
        tokio::time::timeout(OPEN_TIMEOUT, call).await.context("the stream was not accepted in time")?;
    let response = response.map_err(|status| refusal::<D>(&status))?;
    if let Some(missing) = downstream.needs().iter().find(|need| !need.is_announced(response.metadata())) {
        let reason = format!("it is of a version that does not know {missing}; upgrade it");
        return Err(OpeningRefused(reason).into());
    }
    let claims = Feature::Claims.is_announced(response.metadata());
    Ok(OpenedStream { sender, receipts: response.into_inner(), claims, renewal })
}

/// A server verifies the client's certificate only after the client has finished its part of the handshake.
/// So a refusal arrives as an alert in place of an answer, and HTTP/2 keeps nothing of it but its text.
fn refusal<D: Downstream>(status: &Status) -> anyhow::Error {
    let is_of_peer = std::error::Error::source(status).is_none();
    if is_of_peer && status.code() == Code::Unimplemented {
        return anyhow::anyhow!(
            "the peer serves gRPC, but is no {}: check the port in --downstream, which may be another service's",
            D::SERVICE
        );
    }
    if is_of_peer && matches!(status.code(), Code::FailedPrecondition | Code::InvalidArgument) {
        return OpeningRefused(status.message().to_owned()).into();
    }
    let text = describe(status);
    let alert = text.contains("received fatal alert");
    let refused = anyhow::anyhow!(text);
    if alert { refused.context("the peer refuses this service's own certificate") } else { refused }
}

/// A channel over a connection that is made already.
async fn channel(address: SocketAddr, stream: NotedStream, origin: Uri) -> anyhow::Result<Channel> {
    let mut ready = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_: Uri| {
        let ready = ready.take().ok_or_else(|| std::io::Error::other("the connection is over"));
        std::future::ready(ready)
    });
    let channel = endpoint(address)?.origin(origin).connect_with_connector(connector).await;
    channel.context("cannot connect")
}

fn endpoint(address: SocketAddr) -> anyhow::Result<Endpoint> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW))
}

/// A status with its causes, in one line.
pub(super) fn describe(status: &Status) -> String {
    let mut text = format!("{:?}: {}", status.code(), status.message());
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
