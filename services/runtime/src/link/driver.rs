//! Runs the link: look-ups, streams and the source drive the dispatcher.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};

use super::dispatcher::{Dispatcher, StreamEnd};
use super::downstream::Downstream;
use super::outgoing::OutgoingSource;
use super::resolve::{Addresses, keep_resolved};
use super::settings::LinkSettings;
use super::stream_task::{Route, StreamChange, StreamEvent, StreamTask, StreamTaskId};
use crate::metrics::LINK_OPEN_STREAMS;
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
    mut source: S,
    settings: &LinkSettings,
    identity: Option<Identity>,
    life: &Lifecycle,
) -> anyhow::Result<()>
where
    D: Downstream,
    S: OutgoingSource<Batch = D::Batch>,
{
    let mut link = Link::start(downstream, settings, identity)?;
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
            () = life.draining(), if !draining => draining = true,
            () = life.aborting() => break,
        }
        link.advance();
    }
    Ok(())
}

/// A task of the link ends only because its address has left. A task that panicked would hold its batches for
/// ever.
fn check(ended: Result<(), JoinError>) -> anyhow::Result<()> {
    match ended {
        Err(error) if error.is_panic() => anyhow::bail!("a task of the link panicked"),
        _ => Ok(()),
    }
}

struct Link<D: Downstream> {
    downstream: D,
    dispatcher: Dispatcher<D::Batch>,
    /// The open streams' sending ends. Dropping one lets the peer end the stream in order.
    senders: BTreeMap<SocketAddr, mpsc::Sender<Arc<D::Batch>>>,
    stream_tasks: BTreeMap<SocketAddr, StreamTask>,
    last_task: u64,
    events: mpsc::Receiver<StreamEvent<D::Batch>>,
    event_sender: mpsc::Sender<StreamEvent<D::Batch>>,
    route: Route,
    /// Ends its tasks when the link is dropped.
    tasks: JoinSet<()>,
}

impl<D: Downstream> Link<D> {
    fn start(downstream: D, settings: &LinkSettings, identity: Option<Identity>) -> anyhow::Result<Self> {
        let mut tasks = JoinSet::new();
        let (address_sender, addresses) = watch::channel(Addresses::new());
        let endpoints = settings.endpoints(identity.is_some())?;
        tasks.spawn(keep_resolved(endpoints, settings.resolve_interval, address_sender));
        let (event_sender, events) = mpsc::channel(MAX_EVENTS);
        let unreceipted_batches = usize::from(settings.unreceipted_batches);
        Ok(Self {
            downstream,
            dispatcher: Dispatcher::new(unreceipted_batches),
            senders: BTreeMap::new(),
            stream_tasks: BTreeMap::new(),
            last_task: 0,
            events,
            event_sender,
            route: Route { addresses, identity },
            tasks,
        })
    }

    fn resolved(&mut self) {
        let addresses = self.route.addresses.borrow_and_update().keys().copied().collect();
        let changes = self.dispatcher.resolved(&addresses);
        for address in changes.joined {
            self.start_stream(address);
        }
        for address in changes.left {
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
        tracing::info!(downstream = D::SERVICE, %address, "address left; stream over");
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
                if claims {
                    self.dispatcher.takes_claims(address);
                }
                self.senders.insert(address, sender);
            }
            StreamChange::Receipt(receipt) => {
                if let Err(mismatch) = self.dispatcher.receipted(address, receipt) {
                    tracing::error!(downstream = D::SERVICE, %address, error = %mismatch, "breaking the stream");
                    self.restart(address);
                }
            }
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
    fn restart(&mut self, address: SocketAddr) {
        self.senders.remove(&address);
        self.dispatcher.closed(address, StreamEnd::Broken);
        self.start_stream(address);
    }

    /// Sends what can be sent and lets go of streams that have nothing left to do.
    fn advance(&mut self) {
        while let Some((address, batch)) = self.dispatcher.next_send() {
            let sent = self.senders.get(&address).is_some_and(|sender| sender.try_send(batch).is_ok());
            if !sent {
                // The stream has just ended; its Closed event sends the batch again.
                tracing::debug!(downstream = D::SERVICE, %address, "stream ended while a batch was handed to it");
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
