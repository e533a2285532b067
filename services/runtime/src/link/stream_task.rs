//! The stream to one address: opened, pumped, and opened again when it ends or its certificates do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc::{self, error::SendError};
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status, Streaming};
use veilpost_proto::v1::Receipt;

use super::Hop;
use super::codec::SharedCodec;
use super::fleet::Ending;
use super::resolve::Addresses;
use crate::serve::{CONNECTION_WINDOW, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, STREAM_WINDOW};
use crate::tls;
use crate::{Backoff, Identity};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long the peer may take to accept a stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(3);

/// What happens on the stream to one address, in this order: opened, receipts, perhaps ending and further receipts, closed,
/// opened again …
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
    /// The stream is to end in order: its sender is to be dropped.
    Ending,
    Closed(Ending),
}

/// How an address is reached.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) addresses: watch::Receiver<Addresses>,
    /// None for plain text.
    pub(super) identity: Option<Identity>,
}

/// Keeps a stream to the keeper's address open; runs until dropped, or until nobody listens to its events.
///
/// The stream ends in order when its sender is dropped: the peer answers what it has, then closes.
pub(super) async fn keep_stream<H: Hop>(
    hop: H,
    from: KeeperId,
    route: Route,
    unreceipted_batches: usize,
    events: mpsc::Sender<Event<H::Batch>>,
) {
    let address = from.address;
    let mut host = Arc::from(address.ip().to_string());
    let mut backoff = Backoff::new(FIRST_DELAY, LONGEST_DELAY);
    let mut complained = String::new();
    while !events.is_closed() {
        // The name may be another one by now; that of an address that is leaving stays.
        if let Some(current) = route.addresses.borrow().get(&address) {
            host = Arc::clone(current);
        }
        match open(&hop, address, &host, route.identity.as_ref(), unreceipted_batches).await {
            Ok(opened) => {
                tracing::info!(downstream = H::DOWNSTREAM, %address, "stream open");
                backoff.reset();
                complained.clear();
                // An error says that nobody listens any more, which ends the loop.
                let renewed = pump::<H>(from, opened, &events).await.unwrap_or(false);
                if renewed {
                    continue;
                }
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

struct Opened<B> {
    sender: mpsc::Sender<Arc<B>>,
    receipts: Streaming<Receipt>,
    renewal: Renewal,
}

/// Resolves, with the reason, when the stream is to be opened anew.
type Renewal = BoxFuture<'static, &'static str>;

async fn open<H: Hop>(
    hop: &H,
    address: SocketAddr,
    host: &str,
    identity: Option<&Identity>,
    unreceipted_batches: usize,
) -> anyhow::Result<Opened<H::Batch>> {
    let (channel, renewal) = match identity {
        Some(identity) => connect_tls(address, host, identity).await?,
        None => (connect(address).await?, std::future::pending().boxed()),
    };
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
    let receipts = response.map_err(|status| refusal(&status))?.into_inner();
    Ok(Opened { sender, receipts, renewal })
}

/// A server looks at the client's certificate only after the client has finished its part of the handshake, so a refusal
/// comes as an alert in place of an answer; HTTP/2 keeps nothing of it but its text.
fn refusal(status: &Status) -> anyhow::Error {
    let text = describe(status);
    let alert = text.contains("received fatal alert");
    let refused = anyhow::anyhow!(text);
    if alert { refused.context("the peer refuses this service's own certificate") } else { refused }
}

async fn connect(address: SocketAddr) -> anyhow::Result<Channel> {
    endpoint(address)?.connect().await.context("cannot connect")
}

/// The TLS connection is made here, not by the channel, which would know an address and no name; the channel gets it ready.
async fn connect_tls(
    address: SocketAddr,
    host: &str,
    identity: &Identity,
) -> anyhow::Result<(Channel, Renewal)> {
    let connected = tls::connect(address, host, identity).await?;
    let renewal = connected.renewal().boxed();
    let origin = Uri::builder()
        .scheme("https")
        .authority(authority(host, address.port()))
        .path_and_query("/")
        .build()?;
    let mut ready = Some(TokioIo::new(connected.stream));
    let connector = tower::service_fn(move |_: Uri| {
        let ready = ready.take().ok_or_else(|| std::io::Error::other("the connection is over"));
        std::future::ready(ready)
    });
    let channel = endpoint(address)?.origin(origin).connect_with_connector(connector).await;
    Ok((channel.context("cannot connect")?, renewal))
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn endpoint(address: SocketAddr) -> anyhow::Result<Endpoint> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW))
}

/// Hands the sender over and passes receipts on until the stream ends; tells whether it was ended to be opened anew.
async fn pump<H: Hop>(
    from: KeeperId,
    opened: Opened<H::Batch>,
    events: &mpsc::Sender<Event<H::Batch>>,
) -> Result<bool, SendError<Event<H::Batch>>> {
    let Opened { sender, mut receipts, mut renewal } = opened;
    events.send(Event { from, kind: Kind::Opened(sender) }).await?;
    let mut renewing = false;
    loop {
        let message = tokio::select! {
            message = receipts.message() => message,
            why = &mut renewal, if !renewing => {
                tracing::info!(downstream = H::DOWNSTREAM, address = %from.address, "opening the stream anew: {why}");
                renewing = true;
                events.send(Event { from, kind: Kind::Ending }).await?;
                continue;
            }
        };
        match message {
            Ok(Some(receipt)) => events.send(Event { from, kind: Kind::Receipt(receipt) }).await?,
            end => {
                let ending = ending::<H>(from.address, &end);
                events.send(Event { from, kind: Kind::Closed(ending) }).await?;
                return Ok(renewing && ending == Ending::Orderly);
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
