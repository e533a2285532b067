//! A proxy before the queue that lets chosen SQS calls go unanswered.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri, uri::Authority, uri::Scheme};
use axum::response::{IntoResponse, Response};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const MAX_ANSWER: usize = 32 * 1024 * 1024;

/// Passes SQS calls on. Dropping it ends it.
#[derive(Debug)]
pub struct SqsGate {
    address: SocketAddr,
    inner: Arc<Inner>,
    _server: JoinSet<()>,
}

#[derive(Debug)]
struct Inner {
    upstream: SocketAddr,
    client: Client<HttpConnector, Body>,
    refused: Mutex<BTreeSet<String>>,
    deliver_twice: AtomicBool,
    handles: Mutex<Vec<String>>,
    doubled: AtomicUsize,
}

impl SqsGate {
    pub async fn before(upstream: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let client = Client::builder(TokioExecutor::new()).build_http();
        let inner = Arc::new(Inner {
            upstream,
            client,
            refused: Mutex::default(),
            deliver_twice: AtomicBool::new(false),
            handles: Mutex::default(),
            doubled: AtomicUsize::new(0),
        });
        let router = axum::Router::new().fallback(forward).with_state(Arc::clone(&inner));
        let mut server = JoinSet::new();
        server.spawn(async move {
            // It runs until the gate is dropped; there is nobody to tell of an earlier end but the test that then fails.
            let _over = axum::serve(listener, router).await;
        });
        Ok(Self { address, inner, _server: server })
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on every call of `action`, such as `DeleteMessageBatch`, fails as if the queue were overloaded.
    pub fn refuse(&self, action: &str) {
        self.inner.refused().insert(action.to_owned());
    }

    /// From now on every message of a receive is in its answer twice: SQS delivers at least once.
    pub fn deliver_twice(&self) {
        self.inner.deliver_twice.store(true, Ordering::SeqCst);
    }

    /// The receipt handles of every delivery so far.
    pub fn handles(&self) -> Vec<String> {
        self.inner.handles.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many deliveries were doubled.
    pub fn doubled(&self) -> usize {
        self.inner.doubled.load(Ordering::SeqCst)
    }
}

impl Inner {
    fn refused(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the receipt handles in the answer to a receive, and repeats its messages if that is wanted.
    async fn received(&self, answer: Response) -> Option<Response> {
        let body = axum::body::to_bytes(answer.into_body(), MAX_ANSWER).await.ok()?;
        let mut answer: serde_json::Value = serde_json::from_slice(&body).ok()?;
        if let Some(messages) = answer.get_mut("Messages").and_then(serde_json::Value::as_array_mut) {
            let handles = messages.iter().filter_map(|message| message.get("ReceiptHandle")?.as_str());
            self.handles.lock().unwrap_or_else(PoisonError::into_inner).extend(handles.map(str::to_owned));
            if self.deliver_twice.load(Ordering::SeqCst) {
                self.doubled.fetch_add(messages.len(), Ordering::SeqCst);
                messages.extend(messages.clone());
            }
        }
        Some(([(CONTENT_TYPE, "application/x-amz-json-1.0")], answer.to_string()).into_response())
    }
}

/// The SQS action of a call in the JSON protocol.
fn action(request: &Request) -> String {
    let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
    target.and_then(|target| target.rsplit('.').next()).unwrap_or_default().to_owned()
}

async fn forward(State(inner): State<Arc<Inner>>, mut request: Request) -> Response {
    let action = action(&request);
    if inner.refused().contains(&action) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let Ok(authority) = Authority::try_from(inner.upstream.to_string()) else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority);
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    match inner.client.request(request).await {
        Ok(answer) if action == "ReceiveMessage" && answer.status().is_success() => inner
            .received(answer.into_response())
            .await
            .unwrap_or_else(|| StatusCode::BAD_GATEWAY.into_response()),
        Ok(answer) => answer.into_response(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}
