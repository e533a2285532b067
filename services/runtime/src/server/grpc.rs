//! The gRPC server: health, keepalive, mutual TLS, and a drain that lets streams end themselves.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::response::IntoResponse;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::{Service, http::Request};
use tonic::server::NamedService;
use tonic::transport::Server;
use tonic::transport::server::{Connected, Router};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::layer::util::{Identity, Stack};

use super::accept::{accept, await_first_byte};
use super::listen::listen;
use super::message_limits::MessageLimits;
use super::refused_calls::RefusedCalls;
use crate::Lifecycle;
use crate::tls::{Admission, CallerAuthorization, Refusals, TlsAcceptor};

/// A peer that answers no ping within interval and timeout together counts as dead.
pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(4);
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(4);

/// The bytes that may be on their way to a receiver that does not read: enough for most batches as a whole,
/// and few enough for a receiver with many senders.
pub(crate) const STREAM_WINDOW: u32 = 1024 * 1024;
pub(crate) const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;

/// The largest frame, in bytes, so that a batch arrives in a few reads instead of in dozens. A receiver may
/// hold one frame of every connection on top of what the windows allow.
const MAX_FRAME: u32 = 256 * 1024;

/// Streams of one connection at once: the link uses one for each connection, and a probe another.
const MAX_STREAMS: u32 = 4;

/// The bytes that the headers of one call may take.
const MAX_HEADER_BYTES: u32 = 16 * 1024;

/// Streams that a peer has opened and reset again before they were looked at, and streams that this side had
/// to reset: a connection with more of either is closed.
const MAX_RESET_STREAMS: usize = 20;

/// Connections whose handshake is over and that are not served yet.
const MAX_ESTABLISHED: usize = 16;

/// How long streams have after an abort to send their peers a last message.
const ABORT_GRACE: Duration = Duration::from_secs(1);

/// Listens on `address`; port 0 takes a free port.
///
/// # Errors
///
/// When the address cannot be listened on, for example because another process already does.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    listen(address, "--listen-address").await
}

/// Serves `service` and grpc.health.v1 on `listener`; returns when draining is over.
///
/// With an [`Admission`], every connection is mutual TLS: health answers every peer with a certificate, and
/// `service` only those that the admission names. Without one, connections are plain text.
///
/// In a drain, no connection is accepted any more and streams end themselves; streams that are left when the
/// service aborts are cut one second later. Dropping the future cuts all streams at once.
///
/// # Errors
///
/// When the listener has no address, or the server fails as a whole; a failing connection is no such error.
pub async fn serve_grpc<S>(
    service: S,
    listener: TcpListener,
    admission: Option<Admission>,
    life: &Lifecycle,
) -> anyhow::Result<()>
where
    S: Service<Request<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    let (reporter, health) = tonic_health::server::health_reporter();
    let address = listener.local_addr()?;
    tracing::info!(port = "grpc", %address, tls = admission.is_some(), "listening");
    if admission.is_none() && !address.ip().is_loopback() {
        tracing::warn!(%address, "no TLS: everybody who reaches this address can read and send records");
    }
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_max_pending_accept_reset_streams(Some(MAX_RESET_STREAMS))
        .http2_max_local_error_reset_streams(Some(MAX_RESET_STREAMS))
        .layer(RefusedCalls::new())
        .layer(MessageLimits::new())
        .add_service(health);
    let refusals = Arc::new(Refusals::new());
    let serving = async {
        match admission {
            None => {
                let service = CallerAuthorization::everyone(service);
                let admit = |tcp, peer| await_first_byte(tcp, peer, Arc::clone(&refusals));
                serve(server.add_service(service), listener, &refusals, life, admit).await
            }
            Some(Admission { identity, callers }) => {
                let service = CallerAuthorization::only(service, callers, Arc::clone(&refusals));
                let acceptor = TlsAcceptor { identity, refusals: Arc::clone(&refusals) };
                let admit = |tcp, peer| acceptor.clone().admit(tcp, peer);
                serve(server.add_service(service), listener, &refusals, life, admit).await
            }
        }
    };
    let cut = async {
        life.aborting().await;
        tokio::time::sleep(ABORT_GRACE).await;
    };
    tokio::select! {
        ended = serving => ended.context("the gRPC server failed"),
        () = cut => Ok(()),
        () = report_health(reporter, S::NAME, life) => Ok(()),
    }
}

/// Handshakes end when the drain begins; connections stay until their streams are over.
async fn serve<C, F>(
    server: Router<Stack<MessageLimits, Stack<RefusedCalls, Identity>>>,
    listener: TcpListener,
    refusals: &Arc<Refusals>,
    life: &Lifecycle,
    admit: impl Fn(TcpStream, SocketAddr) -> F,
) -> Result<(), tonic::transport::Error>
where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    F: Future<Output = Option<C>> + Send + 'static,
{
    let (established, connections) = mpsc::channel(MAX_ESTABLISHED);
    let accepting = async {
        tokio::select! {
            () = accept(listener, Arc::clone(refusals), established, admit) => {}
            () = life.draining() => {}
        }
        std::future::pending().await
    };
    tokio::select! {
        ended = server.serve_with_incoming_shutdown(ReceiverStream::new(connections), life.draining()) => ended,
        never = accepting => never,
    }
}

/// Mirrors readiness into grpc.health.v1, for the whole server and for the service by name; never returns.
async fn report_health(reporter: HealthReporter, name: &str, life: &Lifecycle) {
    let mut ready = life.watch_ready();
    loop {
        let status =
            if *ready.borrow_and_update() { ServingStatus::Serving } else { ServingStatus::NotServing };
        reporter.set_service_status("", status).await;
        reporter.set_service_status(name, status).await;
        if ready.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
