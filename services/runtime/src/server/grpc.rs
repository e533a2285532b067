//! A gRPC server with health, keepalive and a graceful end.

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

use crate::Lifecycle;
use crate::accept::{accept, hear};
use crate::tls::{Admission, Door, Guard, Refusals};

/// A peer that answers no ping within interval and timeout together is taken for dead.
pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(4);
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(4);

/// What may be on its way to a receiver that does not read: room for most batches as a whole, and little enough for a
/// receiver with many senders.
pub(crate) const STREAM_WINDOW: u32 = 1024 * 1024;
pub(crate) const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;

/// The most bytes in one frame: batches come in a few reads instead of in dozens. A receiver may hold one frame of every
/// connection beside what the windows allow.
const FRAME: u32 = 256 * 1024;

/// Connections that have shaken hands and are not yet served.
const ESTABLISHED: usize = 16;

/// How long streams may take to tell their peers after an abort.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Listens on `address`; port 0 takes a free one.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on --listen-address {address}"))?;
    Ok(listener)
}

/// Serves `service` and grpc.health.v1 on `listener`; returns when draining is over.
///
/// With an admission, connections are mutual TLS, `service` answers only whom that admits, and health everybody with a
/// certificate; without one they are plain text. Streams end themselves when the service drains; those that have not when it
/// aborts are cut.
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
        tracing::warn!(%address, "no TLS: whoever reaches this address can read records and send some");
    }
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .add_service(health);
    let refusals = Arc::new(Refusals::new());
    let serving = async {
        match admission {
            None => {
                let heard = |tcp, peer| hear(tcp, peer, Arc::clone(&refusals));
                serve(server.add_service(Guard::open(service)), listener, &refusals, life, heard).await
            }
            Some(Admission { identity, callers }) => {
                let service = Guard::admitting(service, callers, Arc::clone(&refusals));
                let door = Door { identity, refusals: Arc::clone(&refusals) };
                let admit = |tcp, peer| door.clone().admit(tcp, peer);
                serve(server.add_service(service), listener, &refusals, life, admit).await
            }
        }
    };
    let cut = async {
        life.aborting().await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    tokio::select! {
        ended = serving => ended.context("the gRPC server failed"),
        () = cut => Ok(()),
        () = report_health(reporter, S::NAME, life) => Ok(()),
    }
}

/// Handshakes end with the drain; connections live on until their streams are over.
async fn serve<C, F>(
    server: Router,
    listener: TcpListener,
    refusals: &Arc<Refusals>,
    life: &Lifecycle,
    admit: impl Fn(TcpStream, SocketAddr) -> F,
) -> Result<(), tonic::transport::Error>
where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    F: Future<Output = Option<C>> + Send + 'static,
{
    let (established, connections) = mpsc::channel(ESTABLISHED);
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
