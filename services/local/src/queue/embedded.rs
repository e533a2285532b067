//! An SQS-compatible queue server inside this process, for the demo, for tests and for `veilpost queue`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::client::client_for;
use super::server::{Shared, router};
use super::state::{ACCOUNT, SqsError, arn_of};

/// A message that has been received this often without being settled moves to the dead-letter queue.
const MAX_RECEIVE_COUNT: u32 = 10;

/// A running queue server with its own threads. Dropping it ends them and every connection at once.
pub struct EmbeddedQueue {
    address: SocketAddr,
    runtime: Option<Runtime>,
    shared: Arc<Shared>,
}

/// A queue and its dead-letter queue.
#[derive(Clone, Debug)]
pub struct QueuePair {
    pub url: String,
    pub dead_letter_url: String,
}

impl EmbeddedQueue {
    /// Serves on `address`, without a queue at first; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(address: SocketAddr) -> anyhow::Result<Self> {
        Self::serve(address, Arc::new(Shared::new())).await
    }

    /// Serves on `address` a queue whose messages move to the dead-letter queue after ten receives. Both
    /// exist before anybody can connect.
    ///
    /// # Errors
    /// When the address cannot be listened on, or a name cannot be a queue's.
    pub async fn start_with(
        address: SocketAddr,
        name: &str,
        dead_letter_name: &str,
    ) -> anyhow::Result<(Self, QueuePair)> {
        let shared = Arc::new(Shared::new());
        create_pair(&shared, name, dead_letter_name)?;
        let queue = Self::serve(address, shared).await?;
        let pair = queue.pair(name, dead_letter_name);
        Ok((queue, pair))
    }

    async fn serve(address: SocketAddr, shared: Arc<Shared>) -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        let listener = listener.into_std()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("embedded-queue")
            .enable_all()
            .build()?;
        let (routes, timed) = (router(Arc::clone(&shared)), Arc::clone(&shared));
        runtime.spawn(async move { timed.keep_time().await });
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener)?.tap_io(|connection| {
                connection.set_nodelay(true).ok();
            });
            axum::serve(listener, routes).await
        });
        Ok(Self { address, runtime: Some(runtime), shared })
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

    /// Creates a queue whose messages move to the dead-letter queue after ten receives.
    ///
    /// # Errors
    /// When a name cannot be a queue's, or is that of a queue with other attributes.
    pub fn create_pair(&self, name: &str, dead_letter_name: &str) -> anyhow::Result<QueuePair> {
        create_pair(&self.shared, name, dead_letter_name)?;
        Ok(self.pair(name, dead_letter_name))
    }

    fn pair(&self, name: &str, dead_letter_name: &str) -> QueuePair {
        let url = |name: &str| format!("{}/{ACCOUNT}/{name}", self.endpoint());
        QueuePair { url: url(name), dead_letter_url: url(dead_letter_name) }
    }
}

impl Drop for EmbeddedQueue {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for EmbeddedQueue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("EmbeddedQueue").field("address", &self.address).finish_non_exhaustive()
    }
}

fn create_pair(shared: &Shared, name: &str, dead_letter_name: &str) -> anyhow::Result<()> {
    let policy = serde_json::json!({
        "deadLetterTargetArn": arn_of(dead_letter_name),
        "maxReceiveCount": MAX_RECEIVE_COUNT,
    });
    create(shared, dead_letter_name, &BTreeMap::new())?;
    create(shared, name, &BTreeMap::from([("RedrivePolicy".to_owned(), policy.to_string())]))
}

fn create(shared: &Shared, name: &str, attributes: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let created = shared.change(|account, now| account.create(now, name, attributes));
    created.map_err(|SqsError { message, .. }| anyhow::anyhow!("cannot create queue {name}: {message}"))
}
