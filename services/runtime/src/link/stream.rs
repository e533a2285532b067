//! The stream to one address: opened, pumped, and opened again when it ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::mpsc::{self, error::SendError};
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use veilpost_proto::v1::Receipt;

use super::Hop;
use super::codec::SharedCodec;
use super::fleet::Ending;
use crate::Backoff;
use crate::serve::{CONNECTION_WINDOW, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, STREAM_WINDOW};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long the peer may take to accept a stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(3);

/// What happens on the stream to one address, in this order: opened, receipts, closed, opened again …
#[derive(Debug)]
pub(super) struct Event<B> {
    pub(super) from: KeeperId,
    pub(super) kind: Kind<B>,
}

/// One keeper of one address; an address that left and came back gets another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeeperId {
    pub(super) address: SocketAddr,
    pub(super) number: u64,
}

#[derive(Debug)]
pub(super) enum Kind<B> {
    Opened(mpsc::Sender<Arc<B>>),
    Receipt(Receipt),
    Closed(Ending),
}

/// Keeps a stream to the keeper's address open; runs until dropped, or until nobody listens to its events.
///
/// The stream ends in order when its sender is dropped: the peer answers what it has, then closes.
pub(super) async fn keep_stream<H: Hop>(
    hop: H,
    from: KeeperId,
    unreceipted_batches: usize,
    events: mpsc::Sender<Event<H::Batch>>,
) {
    let address = from.address;
    let mut backoff = Backoff::new(FIRST_DELAY, LONGEST_DELAY);
    let mut complained = String::new();
    while !events.is_closed() {
        match open(&hop, address, unreceipted_batches).await {
            Ok((sender, receipts)) => {
                tracing::info!(downstream = H::DOWNSTREAM, %address, "stream open");
                backoff.reset();
                complained.clear();
                // An error says that nobody listens any more, which ends the loop.
                let _over = pump::<H>(from, sender, receipts, &events).await;
            }
            Err(error) => {
                let error = format!("{error:#}");
                if error != complained {
                    tracing::warn!(downstream = H::DOWNSTREAM, %address, error, "cannot open a stream; trying again");
                }
                complained = error;
            }
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

type Opened<B> = (mpsc::Sender<Arc<B>>, Streaming<Receipt>);

async fn open<H: Hop>(
    hop: &H,
    address: SocketAddr,
    unreceipted_batches: usize,
) -> anyhow::Result<Opened<H::Batch>> {
    let channel = connect(address).await?;
    let (sender, batches) = mpsc::channel(unreceipted_batches + 1);
    if let Some(opening) = hop.opening() {
        sender.send(Arc::new(opening)).await.context("the stream's own queue is closed")?;
    }
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.context("the connection is not usable")?;
    let call = grpc.streaming(
        Request::new(ReceiverStream::new(batches)),
        PathAndQuery::from_static(H::METHOD),
        SharedCodec::<H::Batch, Receipt>::new(),
    );
    let response =
        tokio::time::timeout(OPEN_TIMEOUT, call).await.context("the stream was not accepted in time")?;
    let receipts = response.map_err(|status| anyhow::anyhow!("{}", describe(&status)))?.into_inner();
    Ok((sender, receipts))
}

async fn connect(address: SocketAddr) -> anyhow::Result<Channel> {
    Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .connect()
        .await
        .context("cannot connect")
}

/// Hands the sender over and passes receipts on until the stream ends.
async fn pump<H: Hop>(
    from: KeeperId,
    sender: mpsc::Sender<Arc<H::Batch>>,
    mut receipts: Streaming<Receipt>,
    events: &mpsc::Sender<Event<H::Batch>>,
) -> Result<(), SendError<Event<H::Batch>>> {
    events.send(Event { from, kind: Kind::Opened(sender) }).await?;
    loop {
        match receipts.message().await {
            Ok(Some(receipt)) => events.send(Event { from, kind: Kind::Receipt(receipt) }).await?,
            end => {
                let kind = Kind::Closed(ending::<H>(from.address, &end));
                return events.send(Event { from, kind }).await;
            }
        }
    }
}

/// Tells a peer that ended the stream for reasons of its own from one that vanished or failed at what it was sent.
fn ending<H: Hop>(address: SocketAddr, end: &Result<Option<Receipt>, Status>) -> Ending {
    let Err(status) = end else { return Ending::Orderly };
    let vanished = std::error::Error::source(status).is_some();
    let ending = match status.code() {
        Code::Unavailable | Code::FailedPrecondition if !vanished => Ending::Orderly,
        _ => Ending::Broken,
    };
    tracing::warn!(downstream = H::DOWNSTREAM, %address, error = describe(status), ?ending, "stream ended");
    ending
}

/// A status with its causes, in one line.
fn describe(status: &Status) -> String {
    let mut text = format!("{:?}: {}", status.code(), status.message());
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
