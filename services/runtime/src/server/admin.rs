//! The admin port: `/livez`, `/readyz` and `/metrics`. No request to it changes state.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use super::http;
use super::listen::listen;
use crate::{Lifecycle, telemetry::MetricsHandle};

/// How often histograms are condensed, so that their memory stays bounded when nobody scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

pub(crate) struct Admin {
    listener: TcpListener,
    life: Lifecycle,
    metrics: MetricsHandle,
}

impl Admin {
    pub(crate) async fn bind(
        address: SocketAddr,
        life: Lifecycle,
        metrics: MetricsHandle,
    ) -> anyhow::Result<Self> {
        let listener = listen(address, "--admin-address").await?;
        tracing::info!(port = "admin", address = %listener.local_addr()?, "listening");
        Ok(Self { listener, life, metrics })
    }

    /// Serves until dropped: health and metrics stay visible during a drain.
    pub(crate) async fn serve(self) -> anyhow::Result<Infallible> {
        let metrics = self.metrics.clone();
        let upkeep = async {
            loop {
                tokio::time::sleep(UPKEEP_INTERVAL).await;
                metrics.run_upkeep();
            }
        };
        tokio::select! {
            never = http::serve(self.listener, routes(self.life, self.metrics)) => never,
            () = upkeep => {}
        }
        anyhow::bail!("the admin port ended")
    }
}

fn routes(life: Lifecycle, metrics: MetricsHandle) -> Router {
    Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readiness).with_state(life))
        .route("/metrics", get(exposition).with_state(metrics))
}

async fn readiness(State(life): State<Lifecycle>) -> (StatusCode, &'static str) {
    if life.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn exposition(State(metrics): State<MetricsHandle>) -> impl IntoResponse {
    // https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::LINK_UNRECEIPTED_RECORDS;
    use axum::body::Body;
    use axum::http::Request;
    use tonic::codegen::Service;

    const KNOWN: [&str; 3] = ["/livez", "/readyz", "/metrics"];

    const UNKNOWN: [&str; 9] = [
        "/",
        "/drain",
        "/quit",
        "/-/reload",
        "/log",
        "/debug/pprof",
        "/metrics/",
        "//livez",
        "/livez/../readyz",
    ];

    #[tokio::test]
    async fn only_reading_methods_are_answered_and_nothing_changes() {
        let life = Lifecycle::for_tests();
        life.set_ready(true);
        let metrics = MetricsHandle::for_tests();
        let mut routes = routes(life.clone(), metrics.clone());
        let mut status = async |method: &str, path: &str| {
            let request =
                Request::builder().method(method).uri(path).body(Body::from("level=trace")).unwrap();
            routes.call(request).await.unwrap().status()
        };
        for path in KNOWN {
            for method in ["GET", "HEAD"] {
                assert_eq!(status(method, path).await, StatusCode::OK, "{method} {path}");
            }
        }
        // Gauges of replicas belong to the process: links of other tests change them meanwhile.
        let shown = || -> Vec<String> {
            let text = metrics.render();
            let lines = text.lines().filter(|line| !line.contains(LINK_UNRECEIPTED_RECORDS));
            lines.map(str::to_owned).collect()
        };
        let before = shown();
        assert!(!before.is_empty(), "a metric that could change");
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "SHUTDOWN"] {
            for path in KNOWN {
                assert_eq!(status(method, path).await, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            }
            for path in UNKNOWN {
                assert_eq!(status(method, path).await, StatusCode::NOT_FOUND, "{method} {path}");
            }
        }
        for path in UNKNOWN {
            assert_eq!(status("GET", path).await, StatusCode::NOT_FOUND, "{path}");
        }
        assert!(life.is_ready() && !life.is_draining() && !life.is_aborting());
        assert_eq!(shown(), before);
    }
}
