//! Says, again and again while it lasts, that calls are refused because of what the caller is set up with.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::{Code, Status};
use tower::Layer;

use crate::metrics::REFUSED_STREAMS;
use crate::telemetry::LineThrottle;

/// One log line per distinct reason and half a minute, at most 10 in all: peers choose what they ask for.
const WINDOW: Duration = Duration::from_secs(30);
const MAX_LINES: usize = 10;

/// Watches the answers of one port; clones share the throttle.
#[derive(Clone, Debug)]
pub(super) struct RefusedCalls(Arc<Mutex<LineThrottle<String>>>);

impl RefusedCalls {
    pub(super) fn new() -> Self {
        metrics::describe_counter!(
            REFUSED_STREAMS,
            "Streams refused because of what their sender is set up with, such as a table or a column"
        );
        metrics::counter!(REFUSED_STREAMS).increment(0);
        Self(Arc::new(Mutex::new(LineThrottle::new(WINDOW, MAX_LINES, Instant::now()))))
    }

    /// Counts the answer if it is a refusal. Such an answer has its status in its headers.
    fn note<B>(&self, path: &str, response: &Response<B>) {
        let Some(status) = Status::from_header_map(response.headers()) else { return };
        if status.code() != Code::FailedPrecondition {
            return;
        }
        metrics::counter!(REFUSED_STREAMS).increment(1);
        let reason = status.message();
        if let Some(suppressed) = self.0.lock().admit(&reason.to_owned(), Instant::now()) {
            tracing::error!(
                path,
                reason,
                suppressed,
                "stream refused: its sender's settings do not fit here"
            );
        }
    }
}

impl<S> Layer<S> for RefusedCalls {
    type Service = WatchedService<S>;

    fn layer(&self, service: S) -> WatchedService<S> {
        WatchedService { service, refused: self.clone() }
    }
}

/// A service whose refusals are counted and logged.
#[derive(Clone, Debug)]
pub(super) struct WatchedService<S> {
    service: S,
    refused: RefusedCalls,
}

impl<S, A, B> Service<Request<A>> for WatchedService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<B>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let refused = self.refused.clone();
        let path = request.uri().path().to_owned();
        let answer = self.service.call(request);
        Box::pin(async move {
            let response = answer.await?;
            refused.note(&path, &response);
            Ok(response)
        })
    }
}
