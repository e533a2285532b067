//! The admin port: `/livez`, `/readyz` and `/metrics`. It offers nothing that changes state.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::{Lifecycle, telemetry::Metrics};

/// How often the metrics' histograms are folded, so that their memory stays bounded when nobody scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

pub(crate) struct Admin {
    listener: TcpListener,
    life: Lifecycle,
    metrics: Metrics,
}

impl Admin {
    pub(crate) async fn bind(address: SocketAddr, life: Lifecycle, metrics: Metrics) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on --admin-address {address}"))?;
        tracing::info!(port = "admin", address = %listener.local_addr()?, "listening");
        Ok(Self { listener, life, metrics })
    }

    /// Serves until dropped: health and metrics stay visible during a drain.
    pub(crate) async fn serve(self) -> anyhow::Result<Infallible> {
        let metrics = self.metrics.clone();
        let routes = Router::new()
            .route("/livez", get(async || "alive\n"))
            .route("/readyz", get(readiness).with_state(self.life))
            .route("/metrics", get(exposition).with_state(self.metrics));
        let upkeep = async {
            loop {
                tokio::time::sleep(UPKEEP_INTERVAL).await;
                metrics.run_upkeep();
            }
        };
        tokio::select! {
            served = axum::serve(self.listener, routes).into_future() => served.context("the admin port failed")?,
            () = upkeep => {}
        }
        anyhow::bail!("the admin port ended")
    }
}

async fn readiness(State(life): State<Lifecycle>) -> (StatusCode, &'static str) {
    if life.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn exposition(State(metrics): State<Metrics>) -> impl IntoResponse {
    // https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render())
}
