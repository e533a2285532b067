//! One call on its way to SQS.

use std::net::SocketAddr;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use serde_json::{Value, json};

/// Larger than any call or answer: a batch of 1 MiB whose JSON is escaped.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// How calls reach the queue behind the proxy.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    pub(super) client: Client<HttpConnector, Body>,
}

/// A call, read to its end.
#[derive(Clone, Debug)]
pub(super) struct Call {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    pub(super) async fn read(request: Request) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, MAX_BYTES).await;
        let body = body.map_err(|_| StatusCode::BAD_REQUEST.into_response())?;
        Ok(Self { method: parts.method, path: parts.uri.to_string(), headers: parts.headers, body })
    }

    /// The SQS action in the JSON protocol, such as `DeleteMessageBatch`.
    pub(super) fn action(&self) -> &str {
        let target = self.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
        target.and_then(|target| target.rsplit('.').next()).unwrap_or_default()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The ids of every `step`th entry of a batch, the first among them.
    pub(super) fn ids(&self, step: usize) -> Vec<String> {
        let call = self.json();
        let entries = call.get("Entries").and_then(Value::as_array).into_iter().flatten();
        entries.step_by(step).filter_map(|entry| Some(entry.get("Id")?.as_str()?.to_owned())).collect()
    }

    /// The same call without a field.
    pub(super) fn without_field(&self, name: &str) -> Self {
        let mut call = self.json();
        if let Some(fields) = call.as_object_mut() {
            fields.remove(name);
        }
        Self { body: call.to_string().into(), ..self.clone() }
    }

    /// The same call without some entries; none when no entry is left.
    pub(super) fn without(&self, ids: &[String]) -> Option<Self> {
        let mut call = self.json();
        let entries = call.get_mut("Entries").and_then(Value::as_array_mut)?;
        entries.retain(|entry| {
            let id = entry.get("Id").and_then(Value::as_str);
            ids.iter().all(|left_out| Some(left_out.as_str()) != id)
        });
        if entries.is_empty() {
            return None;
        }
        Some(Self { body: call.to_string().into(), ..self.clone() })
    }

    /// A call that makes the messages of `answer`, the answer to this receive, visible at once.
    pub(super) fn that_shows(&self, answer: &Value) -> Option<Self> {
        let messages = answer.get("Messages")?.as_array().filter(|messages| !messages.is_empty())?;
        let entries: Vec<_> = messages
            .iter()
            .enumerate()
            .map(|(id, message)| {
                let handle = message.get("ReceiptHandle");
                json!({ "Id": id.to_string(), "ReceiptHandle": handle, "VisibilityTimeout": 0 })
            })
            .collect();
        let body = json!({ "QueueUrl": self.json().get("QueueUrl"), "Entries": entries });
        let mut call = Self { body: body.to_string().into(), ..self.clone() };
        call.headers.insert("x-amz-target", "AmazonSQS.ChangeMessageVisibilityBatch".parse().ok()?);
        Some(call)
    }
}

impl Upstream {
    pub(super) async fn pass(&self, call: Call) -> Response {
        let uri = Uri::try_from(format!("http://{}{}", self.address, call.path));
        let request = uri.map(|uri| {
            let mut request = Request::new(Body::from(call.body));
            *request.method_mut() = call.method;
            *request.uri_mut() = uri;
            *request.headers_mut() = call.headers;
            request.headers_mut().remove(CONTENT_LENGTH);
            request
        });
        match request {
            Ok(request) => match self.client.request(request).await {
                Ok(answer) => answer.into_response(),
                Err(_) => StatusCode::BAD_GATEWAY.into_response(),
            },
            Err(_) => StatusCode::BAD_GATEWAY.into_response(),
        }
    }

    /// The JSON in the answer to a call that succeeds; any other answer as it is.
    pub(super) async fn ask(&self, call: Call) -> Result<Value, Response> {
        let answer = self.pass(call).await;
        if !answer.status().is_success() || !answer.headers().contains_key(CONTENT_TYPE) {
            return Err(answer);
        }
        let body = axum::body::to_bytes(answer.into_body(), MAX_BYTES).await;
        let json = body.ok().and_then(|body| serde_json::from_slice(&body).ok());
        json.ok_or_else(|| StatusCode::BAD_GATEWAY.into_response())
    }
}
