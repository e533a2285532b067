//! Runs the link: look-ups, streams and the source drive the dispatcher.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::dispatcher::{Dispatcher, StreamEnd};
use super::downstream::Downstream;
use super::network::{Network, SystemNetwork};
use super::outgoing::OutgoingSource;
use super::resolve::{Addresses, keep_resolved};
use super::settings::LinkSettings;
use super::stream_task::{Route, StreamChange, StreamEvent, StreamTask, StreamTaskId};
use crate::metrics::{LINK_OPEN_STREAMS, LINK_OVERDUE_STREAMS};
use crate::numbers::{to_f64, to_u64};
use crate::{Identity, Lifecycle};

/// Events of all streams that may wait to be handled.
const MAX_EVENTS: usize = 64;

/// How often time passes for the dispatcher.
const TICK: Duration = Duration::from_millis(500);

/// Sends the batches of `source` to `downstream` until the source is exhausted and every batch has its
/// receipt, or until the service aborts; then the remaining batches lose their reply channels.
///
/// With an identity, streams are mutual TLS; without one, plain text. Receipts arrive in any order. Dropping
/// the future cuts all streams.
///
/// # Errors
///
/// When the settings do not name a downstream, or a task of the link panics. A downstream that is away is no
/// error: batches wait for it.
pub async fn run_link<D, S>(
    downstream: D,
    source: S,
    settings: &LinkSettings,
    identity: Option<Identity>,
    life: &Lifecycle,
) -> anyhow::Result<()>
where
    D: Downstream,
    S: OutgoingSource<Batch = D::Batch>,
{
    let tls = identity.is_some();
    run_link_over(SystemNetwork { identity }, downstream, source, settings, tls, life).await
}

/// [`run_link`] over any network; `tls` says which scheme the settings must have.
pub(super) async fn run_link_over<N, D, S>(
    network: N,
    downstream: D,
    mut source: S,
    settings: &LinkSettings,
    tls: bool,
    life: &Lifecycle,
) -> anyhow::Result<()>
where
    N: Network,
    D: Downstream,
    S: OutgoingSource<Batch = D::Batch>,
{
    let mut link = Link::start(network, downstream, settings, tls)?;
    let mut exhausted = false;
    let mut draining = false;
    let mut ticks = tokio::time::interval(TICK);
    while !(exhausted && link.dispatcher.holds_nothing()) {
        // In a drain, an idle link asks its source even while no stream is open, to learn that no more will
        // come.
        let wants_more = link.dispatcher.has_room() || draining && link.dispatcher.holds_nothing();
        tokio::select! {
            Some(event) = link.events.recv() => link.handle(event),
            Ok(()) = link.route.addresses.changed() => link.resolved(),
            outgoing = source.next(), if !exhausted && wants_more => match outgoing {
                Some(outgoing) => link.dispatcher.accept(outgoing),
                None => exhausted = true,
            },
            Some(ended) = link.tasks.join_next() => check(ended)?,
            _ = ticks.tick() => link.dispatcher.tick(),
            () = reached(link.dispatcher.next_deadline()) => link.replace_overdue(),
            () = life.draining(), if !draining => draining = true,
            () = life.aborting() => break,
        }
        link.advance();
    }
    Ok(())
}

/// Resolves at the deadline; never without one.
async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// A task of the link ends only because its address has left. A task that panicked would hold its batches for
/// ever.
fn check(ended: Result<(), JoinError>) -> anyhow::Result<()> {
    match ended {
        Err(error) if error.is_panic() => anyhow::bail!("a task of the link panicked"),
        _ => Ok(()),
    }
}

struct Link<D: Downstream, N> {
    downstream: D,
    dispatcher: Dispatcher<D::Batch>,
    /// The open streams' sending ends. Dropping one lets the peer end the stream in order.
    senders: BTreeMap<SocketAddr, mpsc::Sender<Arc<D::Batch>>>,
    stream_tasks: BTreeMap<SocketAddr, StreamTask>,
    last_task: u64,
    events: mpsc::Receiver<StreamEvent<D::Batch>>,
    event_sender: mpsc::Sender<StreamEvent<D::Batch>>,
    route: Route<N>,
    /// Ends its tasks when the link is dropped.
    tasks: JoinSet<()>,
}

impl<D: Downstream, N: Network> Link<D, N> {
    fn start(network: N, downstream: D, settings: &LinkSettings, tls: bool) -> anyhow::Result<Self> {
        let mut tasks = JoinSet::new();
        let (address_sender, addresses) = watch::channel(Addresses::new());
        let endpoints = settings.endpoints(tls)?;
        tasks.spawn(keep_resolved(network.clone(), endpoints, settings.resolve_interval, address_sender));
        let (event_sender, events) = mpsc::channel(MAX_EVENTS);
        let unreceipted_batches = usize::from(settings.unreceipted_batches);
        Ok(Self {
            downstream,
            dispatcher: Dispatcher::new(unreceipted_batches, settings.receipt_timeout),
            senders: BTreeMap::new(),
            stream_tasks: BTreeMap::new(),
            last_task: 0,
            events,
            event_sender,
            route: Route { addresses, network },
            tasks,
        })
    }

    fn resolved(&mut self) {
        let addresses = self.route.addresses.borrow_and_update().keys().copied().collect();
        let changes = self.dispatcher.resolved(&addresses);
        for address in changes.added {
            self.start_stream(address);
        }
        for address in changes.removed {
            self.forget(address);
        }
    }

    fn start_stream(&mut self, address: SocketAddr) {
        self.last_task += 1;
        let id = StreamTaskId { address, number: self.last_task };
        let (downstream, route, events) =
            (self.downstream.clone(), self.route.clone(), self.event_sender.clone());
        let task = StreamTask::spawn(&mut self.tasks, downstream, id, route, events);
        self.stream_tasks.insert(address, task);
    }

    fn forget(&mut self, address: SocketAddr) {
        self.senders.remove(&address);
        self.stream_tasks.remove(&address);
        self.downstream.retired(address);
        tracing::info!(downstream = D::SERVICE, %address, "DNS no longer lists this address; closed its stream");
    }

    fn handle(&mut self, event: StreamEvent<D::Batch>) {
        let StreamEvent { from, what } = event;
        let address = from.address;
        if self.stream_tasks.get(&address).is_none_or(|current| !current.is(from)) {
            return;
        }
        match what {
            StreamChange::Opened { sender, claims } => {
                self.dispatcher.opened(address);
                self.downstream.answered(address, None);
                if claims {
                    self.dispatcher.takes_claims(address);
                }
                self.senders.insert(address, sender);
            }
            StreamChange::Receipt(receipt) => {
                if let Err(mismatch) = self.dispatcher.receipted(address, receipt) {
                    tracing::error!(downstream = D::SERVICE, %address, error = %mismatch, "receipt does not match its batch; closing the stream");
                    self.restart(address, StreamEnd::Broken);
                }
            }
            StreamChange::Refused(reason) => self.downstream.answered(address, Some(&reason)),
            StreamChange::Ending => {
                self.senders.remove(&address);
                self.dispatcher.ending(address);
            }
            StreamChange::Closed(end) => {
                self.senders.remove(&address);
                self.dispatcher.closed(address, end);
            }
        }
    }

    /// Cuts the stream to a peer that breaks the contract and opens another.
    fn restart(&mut self, address: SocketAddr, end: StreamEnd) {
        self.senders.remove(&address);
        self.dispatcher.closed(address, end);
        self.start_stream(address);
    }

    /// Replaces the streams whose peers owe a receipt for too long. No batch is to blame: an outage further
    /// downstream looks the same from here.
    fn replace_overdue(&mut self) {
        for address in self.dispatcher.take_overdue(Instant::now()) {
            metrics::counter!(LINK_OVERDUE_STREAMS).increment(1);
            tracing::warn!(downstream = D::SERVICE, %address, "no receipt in time; replacing the stream");
            self.restart(address, StreamEnd::Orderly);
        }
    }

    /// Sends what can be sent and lets go of streams that have nothing left to do.
    fn advance(&mut self) {
        while let Some((address, batch)) = self.dispatcher.next_send(Instant::now()) {
            let sent = self.senders.get(&address).map(|sender| sender.try_send(batch));
            match sent {
                Some(Ok(())) => {}
                // The peer has sent receipts for batches that it has not read.
                Some(Err(TrySendError::Full(_))) => self.restart(address, StreamEnd::Broken),
                // The stream has just ended; its Closed event sends the batch again.
                None | Some(Err(TrySendError::Closed(_))) => {
                    tracing::debug!(downstream = D::SERVICE, %address, "stream ended while a batch was handed to it");
                }
            }
        }
        for address in self.dispatcher.take_retired() {
            self.forget(address);
        }
        self.update_metrics();
    }

    fn update_metrics(&self) {
        metrics::gauge!(LINK_OPEN_STREAMS).set(to_f64(self.dispatcher.open_streams()));
        for (address, records) in self.dispatcher.loads() {
            if let Some(task) = self.stream_tasks.get(&address) {
                task.show_unreceipted(to_u64(records));
            }
        }
    }
}
