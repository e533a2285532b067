//! A gRPC server with health, keepalive and a graceful end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use axum::response::IntoResponse;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::codegen::{Service, http::Request};
use tonic::server::NamedService;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::Lifecycle;

/// A peer that answers no ping within interval and timeout together is taken for dead.
pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(4);
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(4);

/// What may be on its way to a receiver that does not read: room for most batches as a whole, and little enough for a
/// receiver with many senders.
pub(crate) const STREAM_WINDOW: u32 = 1024 * 1024;
pub(crate) const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;

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
/// Streams end themselves when the service drains; those that have not when it aborts are cut.
pub async fn serve_grpc<S>(service: S, listener: TcpListener, life: &Lifecycle) -> anyhow::Result<()>
where
    S: Service<Request<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    let (reporter, health) = tonic_health::server::health_reporter();
    tracing::info!(port = "grpc", address = %listener.local_addr()?, "listening");
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .add_service(health)
        .add_service(service)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), life.draining());
    let cut = async {
        life.aborting().await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    tokio::select! {
        ended = server => ended.context("the gRPC server failed"),
        () = cut => Ok(()),
        () = report_health(reporter, S::NAME, life) => Ok(()),
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
