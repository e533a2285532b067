//! The queue server: SQS's JSON protocol over HTTP/1. It checks no signature.
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-making-api-requests-json.html>

mod call;
mod clock;
mod operations;
mod shared;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use uuid::{Builder, Uuid};

use super::state::{Account, Code, SqsError};
use call::Call;
pub(super) use shared::Shared;

const JSON: &str = "application/x-amz-json-1.0";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const QUERY_ERROR: HeaderName = HeaderName::from_static("x-amzn-query-error");

/// A batch of 1 MiB may be six times as long once its JSON is escaped.
const MAX_REQUEST_BYTES: usize = 8 * 1024 * 1024;

/// Answers calls, and `/health`.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/health", health(Arc::clone(&shared)))
        .fallback(answer)
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .with_state(shared)
}

/// 200 once there is a queue.
fn health(shared: Arc<Shared>) -> MethodRouter<Arc<Shared>> {
    get(async move || {
        if shared.read(Account::is_empty) {
            (StatusCode::SERVICE_UNAVAILABLE, "no queue yet\n")
        } else {
            (StatusCode::OK, "ok\n")
        }
    })
}

async fn answer(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let request_id = Builder::from_random_bytes(rand::random()).into_uuid();
    let call = Call { shared: &shared, base: &base(&headers), body: &body };
    let answered = match operation(&headers) {
        Ok(operation) => operations::run(operation, &call).await,
        Err(error) => Err(error),
    };
    match answered {
        Ok(json) => {
            ([(CONTENT_TYPE, JSON.to_owned()), (REQUEST_ID, request_id.to_string())], json).into_response()
        }
        Err(error) => refusal(&error, request_id),
    }
}

/// The operation that the caller wants.
fn operation(headers: &HeaderMap) -> Result<&str, SqsError> {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    target.and_then(|target| target.strip_prefix("AmazonSQS.")).ok_or_else(|| {
        let text = "The embedded queue speaks only SQS's JSON protocol, which names the operation in the header \
                    X-Amz-Target: AmazonSQS.<operation>.";
        SqsError::new(Code::UnsupportedOperation, text)
    })
}

/// What queue URLs begin with: the host that the client called.
fn base(headers: &HeaderMap) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    format!("http://{host}")
}

fn refusal(error: &SqsError, request_id: Uuid) -> Response {
    let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let headers = [
        (CONTENT_TYPE, JSON.to_owned()),
        (REQUEST_ID, request_id.to_string()),
        (QUERY_ERROR, format!("{};Sender", error.code.query_code())),
    ];
    let name = format!("com.amazonaws.sqs#{}", error.code.shape());
    let body = serde_json::json!({ "__type": name, "message": error.message });
    (status, headers, body.to_string()).into_response()
}
