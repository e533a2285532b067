//! Runs the link: look-ups, streams and the source drive the fleet.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use metrics::Gauge;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};

use super::fleet::{Ending, Fleet};
use super::resolve::{Addresses, keep_resolved};
use super::stream::{Event, KeeperId, Kind, Route, keep_stream};
use super::{Hop, LinkSettings, Source};
use crate::{Identity, Lifecycle};

/// Events of all streams that may wait to be handled.
const EVENTS: usize = 64;

/// Sends what `source` gives until it is exhausted and everything is receipted, or until the service aborts; then every
/// unanswered parcel's reply is dropped. With an identity, streams are mutual TLS; without one, plain text.
pub async fn run_link<H, S>(
    hop: H,
    mut source: S,
    settings: &LinkSettings,
    identity: Option<Identity>,
    life: &Lifecycle,
) -> anyhow::Result<()>
where
    H: Hop,
    S: Source<Batch = H::Batch>,
{
    let mut link = Link::start(hop, settings, identity)?;
    let mut exhausted = false;
    let mut draining = false;
    while !(exhausted && link.fleet.holds_nothing()) {
        tokio::select! {
            Some(event) = link.events.recv() => link.handle(event),
            Ok(()) = link.addresses.changed() => link.resolved(),
            // An idle link whose downstream is away must still notice in a drain that no more will come.
            parcel = source.next(), if !exhausted && (link.fleet.has_room() || draining && link.fleet.holds_nothing()) => {
                match parcel {
                    Some(parcel) => link.fleet.accept(parcel),
                    None => exhausted = true,
                }
            }
            Some(ended) = link.tasks.join_next() => check(ended)?,
            () = life.draining(), if !draining => draining = true,
            () = life.aborting() => break,
        }
        link.advance();
    }
    Ok(())
}

/// A task of the link ends only because its address has left; one that panicked would hold its batches for ever.
fn check(ended: Result<(), JoinError>) -> anyhow::Result<()> {
    match ended {
        Err(error) if error.is_panic() => anyhow::bail!("a task of the link panicked"),
        _ => Ok(()),
    }
}

struct Link<H: Hop> {
    hop: H,
    identity: Option<Identity>,
    unreceipted_batches: usize,
    fleet: Fleet<H::Batch>,
    /// The open streams' sending ends. Dropping one lets the peer end the stream in order.
    senders: BTreeMap<SocketAddr, mpsc::Sender<Arc<H::Batch>>>,
    keepers: BTreeMap<SocketAddr, Keeper>,
    last_keeper: u64,
    events: mpsc::Receiver<Event<H::Batch>>,
    event_sender: mpsc::Sender<Event<H::Batch>>,
    addresses: watch::Receiver<Addresses>,
    /// Ends its tasks when the link is dropped.
    tasks: JoinSet<()>,
}

/// The task that keeps the stream to one address.
struct Keeper {
    /// Tells its events from those of an earlier keeper of the same address.
    id: KeeperId,
    task: AbortHandle,
    /// Shown as long as the keeper is here.
    unreceipted: Gauge,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<H: Hop> Link<H> {
    fn start(hop: H, settings: &LinkSettings, identity: Option<Identity>) -> anyhow::Result<Self> {
        let mut tasks = JoinSet::new();
        let (address_sender, addresses) = watch::channel(Addresses::new());
        let endpoints = settings.endpoints(identity.is_some())?;
        tasks.spawn(keep_resolved(endpoints, settings.resolve_interval, address_sender));
        let (event_sender, events) = mpsc::channel(EVENTS);
        let unreceipted_batches = usize::from(settings.unreceipted_batches);
        Ok(Self {
            hop,
            identity,
            unreceipted_batches,
            fleet: Fleet::new(unreceipted_batches),
            senders: BTreeMap::new(),
            keepers: BTreeMap::new(),
            last_keeper: 0,
            events,
            event_sender,
            addresses,
            tasks,
        })
    }

    fn resolved(&mut self) {
        let addresses = self.addresses.borrow_and_update().keys().copied().collect();
        let moves = self.fleet.resolved(&addresses);
        for address in moves.joined {
            self.keep(address);
        }
        for address in moves.left {
            self.forget(address);
        }
    }

    fn keep(&mut self, address: SocketAddr) {
        self.last_keeper += 1;
        let id = KeeperId { address, number: self.last_keeper };
        let events = self.event_sender.clone();
        let route = Route { addresses: self.addresses.clone(), identity: self.identity.clone() };
        let task =
            self.tasks.spawn(keep_stream(self.hop.clone(), id, route, self.unreceipted_batches, events));
        let unreceipted =
            metrics::gauge!("veilpost_link_unreceipted_records", "address" => address.to_string());
        self.keepers.insert(address, Keeper { id, task, unreceipted });
    }

    fn forget(&mut self, address: SocketAddr) {
        self.senders.remove(&address);
        self.keepers.remove(&address);
        tracing::info!(downstream = H::DOWNSTREAM, %address, "address left; stream over");
    }

    fn handle(&mut self, event: Event<H::Batch>) {
        let Event { from, kind } = event;
        let address = from.address;
        if self.keepers.get(&address).is_none_or(|current| current.id != from) {
            return;
        }
        match kind {
            Kind::Opened(sender) => {
                self.fleet.opened(address);
                self.senders.insert(address, sender);
            }
            Kind::Receipt(receipt) => {
                if let Err(misfit) = self.fleet.receipted(address, receipt) {
                    tracing::error!(downstream = H::DOWNSTREAM, %address, error = %misfit, "breaking the stream");
                    self.restart(address);
                }
            }
            Kind::Ending => {
                self.senders.remove(&address);
                self.fleet.ending(address);
            }
            Kind::Closed(ending) => {
                self.senders.remove(&address);
                self.fleet.closed(address, ending);
            }
        }
    }

    /// Cuts the stream to a peer that breaks the contract and opens another.
    fn restart(&mut self, address: SocketAddr) {
        self.senders.remove(&address);
        self.fleet.closed(address, Ending::Broken);
        self.keep(address);
    }

    /// Sends what can be sent and lets go of streams that have nothing left to do.
    fn advance(&mut self) {
        while let Some((address, batch)) = self.fleet.next_send() {
            let sent = self.senders.get(&address).is_some_and(|sender| sender.try_send(batch).is_ok());
            if !sent {
                // The stream has just ended; its Closed event sends the batch again.
                tracing::debug!(downstream = H::DOWNSTREAM, %address, "stream ended while a batch was handed to it");
            }
        }
        for address in self.fleet.take_retired() {
            self.forget(address);
        }
        self.measure();
    }

    fn measure(&self) {
        metrics::gauge!("veilpost_link_open_streams").set(as_gauge(self.fleet.open_streams()));
        for (address, records) in self.fleet.loads() {
            if let Some(keeper) = self.keepers.get(&address) {
                keeper.unreceipted.set(as_gauge(records));
            }
        }
    }
}

fn as_gauge(count: usize) -> f64 {
    u32::try_from(count).unwrap_or(u32::MAX).into()
}
