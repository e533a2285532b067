//! Decides which stream gets which batch: the link's state, without I/O.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use veilpost_proto::ReceiptLengthMismatch;
use veilpost_proto::v1::Receipt;

use super::batch::LinkBatch;
use super::in_flight_batch::{InFlightBatch, MAX_DOUBLINGS};
use super::outgoing::Outgoing;
use crate::metrics::{LINK_LEFT_RECORDS, LINK_RESENT_RECORDS};
use crate::numbers::to_u64;

/// How many times a batch is sent again whole after its stream broke. After that, something in it may be what
/// breaks streams.
const RESENDS: u32 = 3;

/// A batch without a receipt after this many ticks is held by its receiver and not in work there: it takes
/// nothing of what a stream may have in work. Otherwise a few records that cannot be stored now would stop
/// all others.
const HELD_AFTER_TICKS: u32 = 2;

/// The batches without a receipt that a stream may have at most, the held ones included.
pub(super) const MAX_UNRECEIPTED_BATCHES: usize = 64;

/// The streams, the batches that each has without a receipt, and the batches that wait to be sent.
#[derive(Debug)]
pub(super) struct Dispatcher<B> {
    streams: BTreeMap<SocketAddr, StreamLoad<B>>,
    waiting: VecDeque<InFlightBatch<B>>,
    unreceipted_batches: usize,
    receipt_timeout: Duration,
    last_id: u64,
    /// How many batches have been sent, over all streams.
    sent: u64,
}

/// One stream and the batches on it.
#[derive(Debug)]
struct StreamLoad<B> {
    open: bool,
    /// Whether its peer takes rejected records and claims their keys.
    claims: bool,
    /// Whether its address has left the look-up, so that it gets nothing new.
    retiring: bool,
    /// Set when a receipt did not come in time, until one comes: it has one batch at a time in work, and
    /// until this time only what no other stream takes.
    on_probation: Option<Instant>,
    /// The latest sent of the batches whose receipts have come on this stream.
    answered: u64,
    unreceipted: BTreeMap<u64, InFlightBatch<B>>,
    /// The last batch that it was given. Among streams with equal loads, the one with the oldest is next.
    last_id: u64,
}

/// The addresses that a look-up added and took away.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AddressChanges {
    pub(super) added: Vec<SocketAddr>,
    pub(super) removed: Vec<SocketAddr>,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamEnd {
    /// The peer ended it, and nothing that was on the stream is to blame.
    Orderly,
    /// The peer vanished, perhaps because of something that was on the stream.
    Broken,
}

impl<B: LinkBatch> Dispatcher<B> {
    pub(super) fn new(unreceipted_batches: usize, receipt_timeout: Duration) -> Self {
        Self {
            streams: BTreeMap::new(),
            waiting: VecDeque::new(),
            unreceipted_batches,
            receipt_timeout,
            last_id: 0,
            sent: 0,
        }
    }

    /// Takes over the addresses of a look-up. A stream whose address is gone is taken out as soon as it has
    /// no batch without a receipt.
    pub(super) fn resolved(&mut self, addresses: &BTreeSet<SocketAddr>) -> AddressChanges {
        let mut changes = AddressChanges::default();
        for address in addresses {
            match self.streams.get_mut(address) {
                Some(stream) => stream.retiring = false,
                None => changes.added.push(*address),
            }
        }
        for address in &changes.added {
            self.streams.insert(*address, StreamLoad::default());
        }
        for (address, stream) in &mut self.streams {
            stream.retiring = !addresses.contains(address);
        }
        changes.removed = self.take_retired();
        changes
    }

    /// Takes out the streams that are retiring and hold nothing.
    pub(super) fn take_retired(&mut self) -> Vec<SocketAddr> {
        self.streams
            .extract_if(.., |_, stream| stream.retiring && stream.unreceipted.is_empty())
            .map(|(a, _)| a)
            .collect()
    }

    pub(super) fn opened(&mut self, address: SocketAddr) {
        if let Some(stream) = self.streams.get_mut(&address) {
            stream.open = true;
        }
    }

    /// The peer of an open stream takes rejected records and claims their keys.
    pub(super) fn takes_claims(&mut self, address: SocketAddr) {
        if let Some(stream) = self.streams.get_mut(&address) {
            stream.claims = true;
        }
    }

    /// A stream is about to end in order: it gets nothing more, and keeps its batches without a receipt.
    pub(super) fn ending(&mut self, address: SocketAddr) {
        if let Some(stream) = self.streams.get_mut(&address) {
            stream.open = false;
        }
    }

    /// A stream is gone: its batches without a receipt wait to be sent again.
    pub(super) fn closed(&mut self, address: SocketAddr, ending: StreamEnd) {
        let Some(stream) = self.streams.get_mut(&address) else {
            return;
        };
        stream.open = false;
        stream.claims = false;
        for mut in_flight in std::mem::take(&mut stream.unreceipted).into_values() {
            in_flight.deadline = None;
            metrics::counter!(LINK_RESENT_RECORDS).increment(to_u64(in_flight.records()));
            match ending {
                StreamEnd::Orderly => self.waiting.push_back(in_flight),
                StreamEnd::Broken => self.after_break(in_flight),
            }
        }
    }

    /// Handles a batch whose stream broke. It is sent again whole; under suspicion, its records are sent one
    /// by one; a record that was alone is left in the source.
    fn after_break(&mut self, mut in_flight: InFlightBatch<B>) {
        in_flight.breaks += 1;
        if in_flight.alone {
            give_up(&in_flight);
        } else if !in_flight.suspect && in_flight.breaks <= RESENDS {
            self.waiting.push_back(in_flight);
        } else {
            let last_id = &mut self.last_id;
            let singles = in_flight.singles(|| {
                *last_id += 1;
                *last_id
            });
            self.waiting.extend(singles);
        }
    }

    /// Passes a receipt on to the sender of its batch. A receipt for a batch that is not on this stream is
    /// ignored.
    pub(super) fn receipted(
        &mut self,
        address: SocketAddr,
        receipt: Receipt,
    ) -> Result<(), ReceiptLengthMismatch> {
        let Some(stream) = self.streams.get_mut(&address) else {
            return Ok(());
        };
        let Some(in_flight) = stream.unreceipted.get(&receipt.batch_id) else {
            return Ok(());
        };
        let (id, mut receipt) = (receipt.batch_id, receipt);
        if !stream.claims {
            in_flight.batch.reject_claims(&mut receipt);
        }
        in_flight.receipted(receipt)?;
        stream.answered = stream.answered.max(in_flight.sent_as);
        stream.unreceipted.remove(&id);
        stream.on_probation = None;
        Ok(())
    }

    /// Accepts a new batch; `next_send` says where it goes.
    pub(super) fn accept(&mut self, outgoing: Outgoing<B>) {
        self.last_id += 1;
        self.waiting.push_back(InFlightBatch::new(outgoing, self.last_id));
    }

    /// Time passes: batches that have been on their streams for long count as held.
    pub(super) fn tick(&mut self) {
        let on_streams = self.streams.values_mut().flat_map(|stream| stream.unreceipted.values_mut());
        on_streams.for_each(|in_flight| in_flight.ticks = in_flight.ticks.saturating_add(1));
    }

    /// Whether a new batch could be sent at once.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.is_empty() && self.streams.values().any(|stream| stream.takes(self.unreceipted_batches))
    }

    /// The next batch to send and the stream that gets it: the one with the fewest unreceipted records.
    ///
    /// A record that is sent alone waits for an empty stream, and the batches behind it wait too: otherwise a
    /// busy stream would never become empty.
    ///
    /// Batches that nobody waits for any more are dropped: whoever gave them up sends their records
    /// elsewhere.
    pub(super) fn next_send(&mut self, now: Instant) -> Option<(SocketAddr, Arc<B>)> {
        self.waiting.retain(|in_flight| !in_flight.is_abandoned());
        let next = self.waiting.front()?;
        // Where one of the peers claims keys, rejected records wait for such a one.
        let with_claims = next.batch.has_claims() && self.streams.values().any(StreamLoad::may_claim);
        let address =
            if next.alone { self.empty(with_claims)? } else { self.least_loaded(now, with_claims)? };
        let mut in_flight = self.waiting.pop_front()?;
        in_flight.ticks = 0;
        in_flight.start_waiting(now, self.receipt_timeout);
        self.sent += 1;
        in_flight.sent_as = self.sent;
        let stream = self.streams.get_mut(&address)?;
        if stream.on_probation.is_some_and(|until| until <= now) {
            // This batch is the next trial.
            stream.on_probation = now.checked_add(self.receipt_timeout);
        }
        let batch = if stream.claims || !in_flight.batch.has_claims() {
            Arc::clone(&in_flight.batch)
        } else {
            Arc::new(in_flight.batch.without_claims())
        };
        stream.last_id = in_flight.id;
        stream.unreceipted.insert(in_flight.id, in_flight);
        Some((address, batch))
    }

    /// When the next receipt is overdue.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.streams
            .values()
            .flat_map(|stream| stream.unreceipted.values())
            .filter_map(|one| one.deadline)
            .min()
    }

    /// The streams that owe a receipt for too long. Each must be closed and opened again; its batches get
    /// more time on their next stream, so that a long outage further downstream moves them ever more rarely.
    ///
    /// A peer that has answered what it got later is not stuck: it holds the batch back, and would only do so
    /// again. Such a batch stays for as long as its time can double.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Vec<SocketAddr> {
        let mut overdue = Vec::new();
        for (address, stream) in &mut self.streams {
            stream.wait_on(now, self.receipt_timeout, *address);
            if stream.late(now).next().is_some() {
                stream.on_probation = now.checked_add(self.receipt_timeout);
                for one in stream.unreceipted.values_mut() {
                    one.delays = one.delays.saturating_add(1);
                }
                overdue.push(*address);
            }
        }
        overdue
    }

    /// `with_claims`: only a stream whose peer claims keys.
    fn least_loaded(&self, now: Instant, with_claims: bool) -> Option<SocketAddr> {
        self.streams
            .iter()
            .filter(|(_, stream)| stream.claims || !with_claims)
            .filter(|(_, stream)| stream.takes(self.unreceipted_batches))
            .min_by_key(|(_, stream)| (stream.is_distrusted(now), stream.records(), stream.last_id))
            .map(|(address, _)| *address)
    }

    fn empty(&self, with_claims: bool) -> Option<SocketAddr> {
        let mut fit = self.streams.iter().filter(|(_, stream)| stream.claims || !with_claims);
        fit.find(|(_, stream)| stream.takes(1)).map(|(address, _)| *address)
    }

    pub(super) fn holds_nothing(&self) -> bool {
        self.waiting.is_empty() && self.streams.values().all(|stream| stream.unreceipted.is_empty())
    }

    /// The number of records without a receipt, by address.
    pub(super) fn loads(&self) -> impl Iterator<Item = (SocketAddr, usize)> {
        self.streams.iter().map(|(address, stream)| (*address, stream.records()))
    }

    pub(super) fn open_streams(&self) -> usize {
        self.streams.values().filter(|stream| stream.open).count()
    }
}

fn give_up<B: LinkBatch>(in_flight: &InFlightBatch<B>) {
    for index in 0..in_flight.records() {
        let message_id = in_flight.batch.message_id(index);
        tracing::error!(message_id, "a stream broke while only this record was on it; leaving the message");
    }
    metrics::counter!(LINK_LEFT_RECORDS).increment(to_u64(in_flight.records()));
    in_flight.leave();
}

impl<B> Default for StreamLoad<B> {
    fn default() -> Self {
        Self {
            open: false,
            claims: false,
            retiring: false,
            on_probation: None,
            answered: 0,
            unreceipted: BTreeMap::new(),
            last_id: 0,
        }
    }
}

impl<B: LinkBatch> StreamLoad<B> {
    /// Whether it takes one more batch when it may have `limit` in work. A batch that is held has shown that
    /// it breaks nothing, so a record may be sent alone beside it.
    fn takes(&self, limit: usize) -> bool {
        let in_work = || self.unreceipted.values().filter(|in_flight| in_flight.ticks < HELD_AFTER_TICKS);
        let limit = if self.on_probation.is_some() { 1 } else { limit };
        let has_room = in_work().count() < limit && self.unreceipted.len() < MAX_UNRECEIPTED_BATCHES;
        self.open && !self.retiring && has_room && !in_work().any(|in_flight| in_flight.alone)
    }

    /// The batches whose receipts are overdue.
    fn late(&mut self, now: Instant) -> impl Iterator<Item = &mut InFlightBatch<B>> {
        let is_late = move |one: &InFlightBatch<B>| one.deadline.is_some_and(|deadline| deadline <= now);
        self.unreceipted.values_mut().filter(move |one| is_late(one))
    }

    /// Gives more time to the overdue batches that its peer holds back.
    fn wait_on(&mut self, now: Instant, receipt_timeout: Duration, address: SocketAddr) {
        // Nobody at a retiring address will store it.
        let answered = if self.retiring { 0 } else { self.answered };
        let is_held = |one: &InFlightBatch<B>| one.sent_as < answered && one.delays < MAX_DOUBLINGS;
        for held in self.late(now).filter(|one| is_held(one)) {
            held.delays += 1;
            held.start_waiting(now, receipt_timeout);
            let (records, message_id) = (to_u64(held.records()), held.batch.message_id(0));
            tracing::warn!(%address, records, message_id, "no receipt for a batch whose peer answers later ones: it holds the batch back; waiting on");
        }
    }

    fn is_distrusted(&self, now: Instant) -> bool {
        self.on_probation.is_some_and(|until| now < until)
    }

    /// Whether it will take a batch with rejected records, now or when it has room again.
    fn may_claim(&self) -> bool {
        self.open && !self.retiring && self.claims
    }

    fn records(&self) -> usize {
        self.unreceipted.values().map(InFlightBatch::records).sum()
    }
}

#[cfg(test)]
mod tests;
