//! The task that keeps the stream to one address open: it opens the stream, passes receipts on, and opens it
//! again when it ends or its certificates expire.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, error::SendError};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tonic::{Code, Status};
use veilpost_proto::v1::Receipt;

use super::connect::{OpenedStream, OpeningRefused, describe, open};
use super::dispatcher::StreamEnd;
use super::downstream::Downstream;
use super::network::Network;
use super::resolve::Addresses;
use crate::Backoff;
use crate::metrics::LINK_UNRECEIPTED_RECORDS;
use crate::telemetry::{OutageLog, ReplicaGauge};

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(3);

/// A refusal that lasts is logged again after this time: somebody has to mend it.
const REPEAT_REFUSAL_AFTER: Duration = Duration::from_secs(30);

/// The task of one address; dropping it ends the task and takes its gauge out of the metrics.
pub(super) struct StreamTask {
    id: StreamTaskId,
    task: AbortHandle,
    unreceipted: ReplicaGauge,
}

/// Tells a task's events from those of an earlier task of the same address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamTaskId {
    pub(super) address: SocketAddr,
    pub(super) number: u64,
}

/// What happens on the stream to one address, in this order: opened, receipts, perhaps ending and further
/// receipts, closed, opened again …
#[derive(Debug)]
pub(super) struct StreamEvent<B> {
    pub(super) from: StreamTaskId,
    pub(super) what: StreamChange<B>,
}

#[derive(Debug)]
pub(super) enum StreamChange<B> {
    /// Batches go to this sender. Dropping it ends the stream in order: the peer answers what it has, then
    /// closes.
    Opened {
        sender: mpsc::Sender<Arc<B>>,
        /// Whether the peer takes rejected records and claims their keys.
        claims: bool,
    },
    /// The peer refuses what the stream is opened with; with its reason.
    Refused(String),
    Receipt(Receipt),
    /// The stream should end in order: drop its sender.
    Ending,
    Closed(StreamEnd),
}

/// How the task reaches its address.
#[derive(Debug, Clone)]
pub(super) struct Route<N> {
    pub(super) addresses: watch::Receiver<Addresses>,
    pub(super) network: N,
}

impl StreamTask {
    /// Starts the task in `tasks`; it runs until this handle is dropped or nobody receives its events.
    pub(super) fn spawn<D: Downstream, N: Network>(
        tasks: &mut JoinSet<()>,
        downstream: D,
        id: StreamTaskId,
        route: Route<N>,
        events: mpsc::Sender<StreamEvent<D::Batch>>,
    ) -> Self {
        let task = tasks.spawn(keep_open(downstream, id, route, events));
        Self { id, task, unreceipted: ReplicaGauge::new(LINK_UNRECEIPTED_RECORDS, id.address) }
    }

    pub(super) fn is(&self, id: StreamTaskId) -> bool {
        self.id == id
    }

    /// Shows the number of records on the stream that have no receipt yet.
    pub(super) fn show_unreceipted(&self, records: u64) {
        self.unreceipted.set(records);
    }
}

impl Drop for StreamTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep_open<D: Downstream, N: Network>(
    downstream: D,
    id: StreamTaskId,
    route: Route<N>,
    events: mpsc::Sender<StreamEvent<D::Batch>>,
) {
    let address = id.address;
    let mut host = Arc::from(address.ip().to_string());
    let mut backoff = Backoff::new(FIRST_DELAY, LONGEST_DELAY);
    let mut outage = OutageLog::new();
    let refusals = OutageLog::repeated_after(REPEAT_REFUSAL_AFTER);
    while !events.is_closed() {
        // The address may have another name by now; an address that has left the look-up keeps its last name.
        if let Some(current) = route.addresses.borrow().get(&address) {
            host = Arc::clone(current);
        }
        match open(&downstream, &route.network, address, &host).await {
            Ok(opened) => {
                tracing::info!(downstream = D::SERVICE, %address, "stream open");
                backoff.reset();
                // After each stream that ends, the log says again why the next one cannot be opened.
                outage = OutageLog::new();
                // An error says that nobody receives the events, which ends the loop.
                let renewed = pump::<D>(id, opened, &events).await.unwrap_or(false);
                if renewed {
                    continue;
                }
            }
            Err(error) => {
                if let Some(OpeningRefused(reason)) = error.downcast_ref() {
                    if refusals.note_failure(reason) {
                        tracing::error!(
                            downstream = D::SERVICE,
                            %address,
                            reason,
                            "the downstream refuses what this service sends; trying again"
                        );
                    }
                    let what = StreamChange::Refused(reason.clone());
                    if events.send(StreamEvent { from: id, what }).await.is_err() {
                        return;
                    }
                } else {
                    let error = format!("{error:#}");
                    if outage.note_failure(&error) {
                        tracing::warn!(downstream = D::SERVICE, %address, error, "cannot open a stream; trying again");
                    }
                }
            }
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

/// Hands the stream's sender over and passes receipts on until the stream ends. True when it ended in order
/// to be replaced at once.
async fn pump<D: Downstream>(
    from: StreamTaskId,
    opened: OpenedStream<D::Batch>,
    events: &mpsc::Sender<StreamEvent<D::Batch>>,
) -> Result<bool, SendError<StreamEvent<D::Batch>>> {
    let OpenedStream { sender, mut receipts, claims, mut renewal } = opened;
    events.send(StreamEvent { from, what: StreamChange::Opened { sender, claims } }).await?;
    let mut renewing = false;
    loop {
        let message = tokio::select! {
            message = receipts.message() => message,
            why = &mut renewal, if !renewing => {
                tracing::info!(downstream = D::SERVICE, address = %from.address, "replacing the stream: {why}");
                renewing = true;
                events.send(StreamEvent { from, what: StreamChange::Ending }).await?;
                continue;
            }
        };
        match message {
            Ok(Some(receipt)) => {
                events.send(StreamEvent { from, what: StreamChange::Receipt(receipt) }).await?;
            }
            end => {
                let end = stream_end::<D>(from.address, &end);
                events.send(StreamEvent { from, what: StreamChange::Closed(end) }).await?;
                return Ok(renewing && end == StreamEnd::Orderly);
            }
        }
    }
}

/// Tells a peer that ended the stream for reasons of its own from one that vanished or failed because of what
/// it was sent.
fn stream_end<D: Downstream>(address: SocketAddr, last: &Result<Option<Receipt>, Status>) -> StreamEnd {
    let Err(status) = last else { return StreamEnd::Orderly };
    let vanished = std::error::Error::source(status).is_some();
    let ending = match status.code() {
        Code::Unavailable | Code::FailedPrecondition if !vanished => StreamEnd::Orderly,
        _ => StreamEnd::Broken,
    };
    tracing::warn!(downstream = D::SERVICE, %address, error = describe(status), ?ending, "stream ended");
    ending
}
