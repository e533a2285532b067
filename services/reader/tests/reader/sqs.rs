//! The embedded queue, as the demo and the command line run it, behind a proxy that injects faults.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use veilpost_local::queue::EmbeddedQueue;

pub(crate) struct Sqs {
    pub(crate) aws: SdkConfig,
    pub(crate) client: Client,
    front: Arc<Front>,
    _tasks: JoinSet<()>,
}

struct Front {
    queue: EmbeddedQueue,
    upstream: legacy::Client<HttpConnector, Body>,
    calls: Mutex<HashMap<String, usize>>,
    /// Calls that are not answered yet, and the most there have been, by operation.
    under_way: Mutex<HashMap<String, (usize, usize)>>,
    faults: Mutex<HashMap<String, (usize, Fault)>>,
}

/// What happens to a call instead of reaching the queue.
#[derive(Clone, Copy)]
pub(crate) enum Fault {
    /// The call fails with this status and code.
    Fails(u16, &'static str),
    /// Every second entry of the batch fails, not by the sender's fault; the others reach the queue.
    RefusesEverySecond,
    /// Every entry fails by the sender's fault.
    RefusesAll(&'static str),
    /// The answer is this text, whatever the request is.
    Says(&'static str),
    /// The queue does not know this field.
    Ignores(&'static str),
    /// The call reaches the queue only after this time.
    Delays(Duration),
}

impl Sqs {
    pub(crate) async fn start() -> Self {
        let front = Arc::new(Front {
            queue: EmbeddedQueue::start("127.0.0.1:0".parse().unwrap()).await.unwrap(),
            upstream: legacy::Client::builder(TokioExecutor::new()).build_http(),
            calls: Mutex::default(),
            under_way: Mutex::default(),
            faults: Mutex::default(),
        });
        let limit = DefaultBodyLimit::disable();
        let router = Router::new().fallback(handle).layer(limit).with_state(Arc::clone(&front));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let aws = config(&format!("http://{}", listener.local_addr().unwrap())).await;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { client: Client::new(&aws), aws, front, _tasks: tasks }
    }

    pub(crate) fn endpoint(&self) -> &str {
        self.aws.endpoint_url().unwrap()
    }

    /// The next `times` calls of `operation` meet `fault`.
    pub(crate) fn break_next(&self, times: usize, operation: &str, fault: Fault) {
        self.front.faults.lock().unwrap().insert(operation.to_owned(), (times, fault));
    }

    /// How often `operation` has been called, faults included.
    pub(crate) fn calls(&self, operation: &str) -> usize {
        self.front.calls.lock().unwrap().get(operation).copied().unwrap_or_default()
    }

    /// How many calls of `operation` have come and are not answered yet.
    pub(crate) fn under_way(&self, operation: &str) -> usize {
        self.front.under_way.lock().unwrap().get(operation).copied().unwrap_or_default().0
    }

    /// The most of them at any one time.
    pub(crate) fn most_under_way(&self, operation: &str) -> usize {
        self.front.under_way.lock().unwrap().get(operation).copied().unwrap_or_default().1
    }

    pub(crate) async fn create(&self, name: &str) -> String {
        self.client.create_queue().queue_name(name).send().await.unwrap().queue_url.unwrap()
    }

    /// A queue whose messages go to `dead` after `receives` receives.
    pub(crate) async fn create_with_redrive(&self, name: &str, dead: &str, receives: u32) -> String {
        let dead = self.create(dead).await;
        let arn = self.attribute(&dead, QueueAttributeName::QueueArn).await;
        let policy = json!({ "deadLetterTargetArn": arn, "maxReceiveCount": receives }).to_string();
        let create = self.client.create_queue().queue_name(name);
        create.attributes(QueueAttributeName::RedrivePolicy, policy).send().await.unwrap().queue_url.unwrap()
    }

    pub(crate) async fn attribute(&self, url: &str, name: QueueAttributeName) -> String {
        let call = self.client.get_queue_attributes().queue_url(url).attribute_names(name.clone());
        call.send().await.unwrap().attributes.unwrap().remove(&name).unwrap()
    }

    pub(crate) async fn send(&self, url: &str, body: &str) -> String {
        self.client.send_message().queue_url(url).message_body(body).send().await.unwrap().message_id.unwrap()
    }

    /// Messages that can be received, and messages that are hidden.
    pub(crate) async fn counts(&self, url: &str) -> (usize, usize) {
        let call = self.client.get_queue_attributes().queue_url(url);
        let found = call.attribute_names(QueueAttributeName::All).send().await.unwrap().attributes.unwrap();
        let number = |name| found[&name].parse().unwrap();
        (
            number(QueueAttributeName::ApproximateNumberOfMessages),
            number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
        )
    }

    /// Everything that can be received at once, with all attributes, hidden for 30 s.
    pub(crate) async fn receive(&self, url: &str) -> Vec<Message> {
        self.receive_hidden(url, 30, 0).await
    }

    pub(crate) async fn receive_hidden(&self, url: &str, visibility: i32, wait: i32) -> Vec<Message> {
        let call = self.client.receive_message().queue_url(url).max_number_of_messages(10);
        let call = call.visibility_timeout(visibility).wait_time_seconds(wait).message_attribute_names("All");
        let call = call.message_system_attribute_names(MessageSystemAttributeName::All);
        call.send().await.unwrap().messages.unwrap_or_default()
    }
}

pub(crate) async fn config(endpoint: &str) -> SdkConfig {
    let loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).empty_test_environment();
    loader.test_credentials().region(Region::from_static("us-east-1")).endpoint_url(endpoint).load().await
}

async fn handle(
    State(front): State<Arc<Front>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    *front.calls.lock().unwrap().entry(operation.clone()).or_default() += 1;
    front.count(&operation, 1);
    let answer = answered(&front, &operation, method, uri, headers, body).await;
    front.count(&operation, -1);
    answer
}

async fn answered(
    front: &Front,
    operation: &str,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let forward = |body: Bytes| front.forward(method, uri, headers, body);
    match front.next_fault(operation) {
        None => forward(body).await,
        Some(Fault::Fails(status, code)) => {
            answer(status, &json!({ "__type": code, "message": "on demand" }))
        }
        Some(Fault::Says(text)) => answer(200, &serde_json::from_str(text).unwrap()),
        Some(Fault::Ignores(field)) => {
            let mut request: Value = serde_json::from_slice(&body).unwrap();
            request.as_object_mut().unwrap().remove(field);
            forward(Bytes::from(request.to_string())).await
        }
        Some(Fault::Delays(pause)) => {
            tokio::time::sleep(pause).await;
            forward(body).await
        }
        Some(Fault::RefusesAll(code)) => {
            let request: Value = serde_json::from_slice(&body).unwrap();
            let ids = request["Entries"].as_array().unwrap().iter().map(|entry| entry["Id"].clone());
            answer(200, &json!({ "Successful": [], "Failed": refused(ids, true, code) }))
        }
        Some(Fault::RefusesEverySecond) => {
            let mut request: Value = serde_json::from_slice(&body).unwrap();
            let entries = std::mem::take(request["Entries"].as_array_mut().unwrap());
            let (kept, dropped): (Vec<_>, Vec<_>) =
                entries.into_iter().enumerate().partition(|(index, _)| index % 2 == 0);
            request["Entries"] = kept.into_iter().map(|(_, entry)| entry).collect();
            let response = forward(Bytes::from(request.to_string())).await;
            let mut output: Value =
                serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap();
            output["Failed"] =
                refused(dropped.into_iter().map(|(_, entry)| entry["Id"].clone()), false, "InternalError");
            answer(200, &output)
        }
    }
}

impl Front {
    fn count(&self, operation: &str, change: isize) {
        let mut under_way = self.under_way.lock().unwrap();
        let (now, most) = under_way.entry(operation.to_owned()).or_default();
        *now = now.checked_add_signed(change).unwrap();
        *most = (*most).max(*now);
    }

    async fn forward(&self, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::new(Body::from(body));
        *request.uri_mut() = format!("{}{path}", self.queue.endpoint()).parse().unwrap();
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        request.headers_mut().remove(CONTENT_LENGTH);
        self.upstream.request(request).await.unwrap().map(Body::new)
    }

    fn next_fault(&self, operation: &str) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let (times, fault) = faults.get_mut(operation)?;
        *times = times.checked_sub(1)?;
        Some(*fault)
    }
}

fn refused(ids: impl Iterator<Item = Value>, sender_fault: bool, code: &str) -> Value {
    ids.map(|id| json!({ "Id": id, "SenderFault": sender_fault, "Code": code, "Message": "on demand" }))
        .collect()
}

fn answer(status: u16, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    let content_type = "application/x-amz-json-1.0".parse().unwrap();
    response.headers_mut().insert("content-type", content_type);
    response
}
