//! An SQS-compatible queue server inside this process, for the demo, for tests and for `veilpost queue`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use aws_sdk_sqs::types::QueueAttributeName;
use awsim_core::{AppState, RequestDetailStore, gateway};
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::get;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::client::{REGION, client_for};
use super::handler::Handler;

const ACCOUNT: &str = "000000000000";

/// A batch of 1 MiB may be six times as long once its JSON is escaped.
const MAX_REQUEST_BYTES: usize = 8 * 1024 * 1024;

/// A message that has been received this often without being settled moves to the dead-letter queue.
const MAX_RECEIVE_COUNT: u32 = 10;

/// A running queue server with its own threads. Dropping it ends them and every connection at once.
#[derive(Debug)]
pub struct EmbeddedQueue {
    address: SocketAddr,
    runtime: Option<Runtime>,
    has_queues: Arc<AtomicBool>,
}

/// A queue and its dead-letter queue.
#[derive(Clone, Debug)]
pub struct QueuePair {
    pub url: String,
    pub dead_letter_url: String,
}

impl EmbeddedQueue {
    /// Serves on `address`; port 0 takes a free one.
    pub async fn start(address: SocketAddr) -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        let listener = listener.into_std()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("embedded-queue")
            .enable_all()
            .build()?;
        let has_queues = Arc::new(AtomicBool::new(false));
        let routes = router(Arc::clone(&has_queues));
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener)?.tap_io(|connection| {
                connection.set_nodelay(true).ok();
            });
            axum::serve(listener, routes).await
        });
        Ok(Self { address, runtime: Some(runtime), has_queues })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The value of AWS_ENDPOINT_URL for its clients.
    pub fn endpoint(&self) -> String {
        let mut reachable = self.address;
        if reachable.ip().is_unspecified() {
            reachable.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        format!("http://{reachable}")
    }

    /// A client for this queue. It reads no environment variables.
    pub fn client(&self) -> aws_sdk_sqs::Client {
        client_for(&self.endpoint())
    }

    /// Creates a queue whose messages move to the dead-letter queue after ten receives. From then on
    /// `/health` answers
    /// 200.
    pub async fn create_pair(&self, name: &str, dead_letter_name: &str) -> anyhow::Result<QueuePair> {
        let client = self.client();
        let dead_letter_url = create(&client, dead_letter_name, None).await?;
        let redrive = serde_json::json!({
            "deadLetterTargetArn": format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{dead_letter_name}"),
            "maxReceiveCount": MAX_RECEIVE_COUNT,
        });
        let url = create(&client, name, Some(redrive.to_string())).await?;
        self.has_queues.store(true, Ordering::Release);
        Ok(QueuePair { url, dead_letter_url })
    }
}

impl Drop for EmbeddedQueue {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn create(client: &aws_sdk_sqs::Client, name: &str, redrive: Option<String>) -> anyhow::Result<String> {
    let mut request = client.create_queue().queue_name(name);
    if let Some(redrive) = redrive {
        request = request.attributes(QueueAttributeName::RedrivePolicy, redrive);
    }
    let created = request.send().await.with_context(|| format!("cannot create queue {name}"))?;
    created.queue_url.context("the queue server returned no URL")
}

fn router(has_queues: Arc<AtomicBool>) -> axum::Router {
    let mut state = AppState::new(REGION.to_owned(), ACCOUNT.to_owned());
    state.request_details = RequestDetailStore::new(1, 0);
    state.register(Arc::new(Handler::new()), Vec::new());
    let health = async move || {
        if has_queues.load(Ordering::Acquire) {
            (StatusCode::OK, "ok\n")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "no queue yet\n")
        }
    };
    axum::Router::new()
        .route("/health", get(health))
        .fallback(gateway::handle_request)
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .with_state(state)
}
