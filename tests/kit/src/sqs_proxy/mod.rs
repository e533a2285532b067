//! A proxy before the queue that speaks SQS's JSON protocol over HTTP and makes chosen calls go wrong.

mod answers;
mod call;
mod calls;
mod fault;
mod listener;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use call::{Call, Upstream};
use calls::CallCounts;
pub use fault::{ArmedFault, SqsFault};
use fault::{ArmedFaults, Calls, PendingHit};
use listener::{ResetHandle, ResettableListener};

/// A message with this body is delivered without a body. SQS accepts no such message today, but old messages
/// and other servers have them.
pub const BODILESS: &str = "this body is taken away on the way";

/// Passes SQS calls on. Dropping it ends the proxy.
#[derive(Debug)]
pub struct SqsFaultProxy {
    address: SocketAddr,
    inner: Arc<Inner>,
    _server: JoinSet<()>,
}

#[derive(Debug)]
struct Inner {
    upstream: Upstream,
    armed_faults: ArmedFaults,
    deliver_twice: AtomicBool,
    counts: CallCounts,
    handles: Mutex<Vec<String>>,
    doubled: AtomicUsize,
}

impl SqsFaultProxy {
    pub async fn before(upstream: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let client = Client::builder(TokioExecutor::new()).build_http();
        let inner = Arc::new(Inner {
            upstream: Upstream { address: upstream, client },
            armed_faults: ArmedFaults::default(),
            deliver_twice: AtomicBool::new(false),
            counts: CallCounts::default(),
            handles: Mutex::default(),
            doubled: AtomicUsize::new(0),
        });
        let router = axum::Router::new().fallback(forward).with_state(Arc::clone(&inner));
        let service = router.into_make_service_with_connect_info::<ResetHandle>();
        let mut server = JoinSet::new();
        server.spawn(async move {
            // An end before the proxy is dropped shows in the test, which then fails.
            let _over = axum::serve(ResettableListener(listener), service).await;
        });
        Ok(Self { address, inner, _server: server })
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next `times` calls whose action begins with `action` meet `fault`: `SendMessage` means
    /// `SendMessageBatch` too. A call that the fault cannot apply to, such as a receive without messages,
    /// does not count.
    pub fn arm(&self, action: &'static str, fault: SqsFault, times: u64) -> ArmedFault {
        self.inner.armed_faults.arm(Calls::StartingWith(action), fault, times)
    }

    /// Like [`Self::arm`], for calls of exactly this action.
    pub fn arm_exactly(&self, action: &'static str, fault: SqsFault, times: u64) -> ArmedFault {
        self.inner.armed_faults.arm(Calls::Of(action), fault, times)
    }

    /// How many calls of exactly this action have come, faults included.
    pub fn calls(&self, action: &str) -> usize {
        self.inner.counts.of(action).total
    }

    /// How many of them are not answered yet.
    pub fn in_flight(&self, action: &str) -> usize {
        self.inner.counts.of(action).in_flight
    }

    /// The most of them that were in flight at any one time.
    pub fn most_in_flight(&self, action: &str) -> usize {
        self.inner.counts.of(action).most_in_flight
    }

    /// From now on every call of `action` fails as if the queue were overloaded.
    pub fn refuse(&self, action: &'static str) {
        self.arm(action, SqsFault::Unavailable, u64::MAX);
    }

    /// From now on every message of a receive is in its answer twice: SQS delivers at least once.
    pub fn deliver_twice(&self) {
        self.inner.deliver_twice.store(true, Ordering::SeqCst);
    }

    /// The receipt handles of every delivery so far.
    pub fn handles(&self) -> Vec<String> {
        self.inner.handles.lock().clone()
    }

    /// How many deliveries were doubled.
    pub fn doubled(&self) -> usize {
        self.inner.doubled.load(Ordering::SeqCst)
    }
}

async fn forward(
    State(inner): State<Arc<Inner>>,
    ConnectInfo(reset_handle): ConnectInfo<ResetHandle>,
    request: Request,
) -> Response {
    let call = match Call::read(request).await {
        Ok(call) => call,
        Err(refusal) => return refusal,
    };
    let _in_flight = inner.counts.begin(call.action());
    match inner.armed_faults.take(call.action()) {
        Some(met) => inner.inject(met, call, &reset_handle).await,
        None if call.action() == "ReceiveMessage" => inner.receive(call, None).await,
        None => inner.upstream.pass(call).await,
    }
}

impl Inner {
    async fn inject(&self, mut met: PendingHit, call: Call, reset_handle: &ResetHandle) -> Response {
        match met.fault() {
            SqsFault::DeliverTwice | SqsFault::Redeliver => return self.receive(call, Some(met)).await,
            SqsFault::EntriesRefused | SqsFault::HandlesRefused | SqsFault::EntriesMisreported => {
                return self.refuse_entries(met, call, 2).await;
            }
            SqsFault::AllEntriesRefused(_) => return self.refuse_entries(met, call, 1).await,
            _ => met.hit(),
        }
        match met.fault() {
            SqsFault::Delay(by) => {
                tokio::time::sleep(by).await;
                self.pass(call).await
            }
            SqsFault::InternalError => answers::error(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure"),
            SqsFault::Throttled => answers::error(StatusCode::BAD_REQUEST, "RequestThrottled"),
            SqsFault::Error(status, code) => {
                answers::error(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), code)
            }
            SqsFault::Answer(json) => answers::success(&serde_json::from_str(json).unwrap_or_default()),
            SqsFault::FieldIgnored(name) => self.pass(call.without_field(name)).await,
            SqsFault::Garbage => answers::garbage(),
            SqsFault::AnswerLost => {
                let lost = self.pass(call).await;
                reset_handle.reset();
                lost
            }
            SqsFault::Hang(time) => {
                tokio::time::sleep(time).await;
                reset_handle.reset();
                StatusCode::GATEWAY_TIMEOUT.into_response()
            }
            SqsFault::Reset => {
                reset_handle.reset();
                StatusCode::BAD_GATEWAY.into_response()
            }
            _ => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        }
    }

    async fn pass(&self, call: Call) -> Response {
        if call.action() == "ReceiveMessage" {
            return self.receive(call, None).await;
        }
        self.upstream.pass(call).await
    }

    /// Passes a receive on: remembers the receipt handles, removes bodies and doubles deliveries where a test
    /// asks for it.
    async fn receive(&self, call: Call, met: Option<PendingHit>) -> Response {
        let fault = met.as_ref().map(PendingHit::fault);
        let mut answer = match self.upstream.ask(call.clone()).await {
            Ok(answer) => answer,
            Err(refusal) => return refusal,
        };
        let show = call.that_shows(&answer).filter(|_| fault == Some(SqsFault::Redeliver));
        let Some(messages) = answer.get_mut("Messages").and_then(Value::as_array_mut) else {
            return answers::success(&answer);
        };
        if let (Some(mut met), false) = (met, messages.is_empty()) {
            met.hit();
        }
        self.remember(messages);
        messages.iter_mut().for_each(take_body);
        if fault == Some(SqsFault::DeliverTwice) || self.deliver_twice.load(Ordering::SeqCst) {
            self.doubled.fetch_add(messages.len(), Ordering::SeqCst);
            messages.extend(messages.clone());
        }
        if let Some(show) = show {
            self.doubled.fetch_add(messages.len(), Ordering::SeqCst);
            drop(self.upstream.pass(show).await);
        }
        answers::success(&answer)
    }

    fn remember(&self, messages: &[Value]) {
        let handles = messages.iter().filter_map(|message| message.get("ReceiptHandle")?.as_str());
        self.handles.lock().extend(handles.map(str::to_owned));
    }

    /// Answers a batch with every `step`th entry failed.
    async fn refuse_entries(&self, mut met: PendingHit, call: Call, step: usize) -> Response {
        let ids = call.ids(step);
        if ids.is_empty() {
            return self.pass(call).await;
        }
        met.hit();
        let passed = match met.fault() {
            SqsFault::EntriesMisreported => Some(call),
            _ => call.without(&ids),
        };
        let answer = match passed {
            Some(call) => match self.upstream.ask(call).await {
                Ok(answer) => answer,
                Err(refusal) => return refusal,
            },
            None => json!({}),
        };
        let (code, sender_fault) = match met.fault() {
            SqsFault::HandlesRefused => ("ReceiptHandleIsInvalid", true),
            SqsFault::AllEntriesRefused(code) => (code, true),
            _ => ("InternalError", false),
        };
        answers::success(&answers::with_failed(answer, &ids, code, sender_fault))
    }
}

fn take_body(message: &mut Value) {
    if message.get("Body").and_then(Value::as_str) == Some(BODILESS)
        && let Some(fields) = message.as_object_mut()
    {
        fields.remove("Body");
        fields.remove("MD5OfBody");
    }
}
