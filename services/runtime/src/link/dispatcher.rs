//! Which stream has which batches: the link's state, without I/O.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use veilpost_proto::v1::Receipt;

use super::shipment::{Misfit, Shipment};
use super::{Batch, Parcel};

/// So often a batch is sent again whole when its stream broke; after that, something in it may be what breaks streams.
const RESENDS: u32 = 3;

/// The streams, what each has unreceipted, and what waits to be sent again.
#[derive(Debug)]
pub(super) struct Fleet<B> {
    streams: BTreeMap<SocketAddr, Stream<B>>,
    waiting: VecDeque<Shipment<B>>,
    unreceipted_batches: usize,
    last_id: u64,
}

#[derive(Debug)]
struct Stream<B> {
    open: bool,
    /// Whether its address has left the look-up: it gets nothing new.
    leaving: bool,
    unreceipted: BTreeMap<u64, Shipment<B>>,
    /// The last batch that it was given: among equals, the one that has waited longest is next.
    last_id: u64,
}

/// What a look-up changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Moves {
    pub(super) joined: Vec<SocketAddr>,
    pub(super) left: Vec<SocketAddr>,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The peer said so itself: nothing that was on the stream is to blame.
    Orderly,
    /// The peer vanished, perhaps because of something that was on the stream.
    Broken,
}

impl<B: Batch> Fleet<B> {
    pub(super) fn new(unreceipted_batches: usize) -> Self {
        Self { streams: BTreeMap::new(), waiting: VecDeque::new(), unreceipted_batches, last_id: 0 }
    }

    /// Takes over the addresses of a look-up. A stream whose address is gone leaves at once when it holds nothing, else
    /// once it is receipted.
    pub(super) fn resolved(&mut self, addresses: &BTreeSet<SocketAddr>) -> Moves {
        let mut moves = Moves::default();
        for address in addresses {
            match self.streams.get_mut(address) {
                Some(stream) => stream.leaving = false,
                None => moves.joined.push(*address),
            }
        }
        for address in &moves.joined {
            self.streams.insert(*address, Stream::default());
        }
        for (address, stream) in &mut self.streams {
            stream.leaving = !addresses.contains(address);
        }
        moves.left = self.take_retired();
        moves
    }

    /// Takes out the streams that are leaving and hold nothing.
    pub(super) fn take_retired(&mut self) -> Vec<SocketAddr> {
        self.streams
            .extract_if(.., |_, stream| stream.leaving && stream.unreceipted.is_empty())
            .map(|(a, _)| a)
            .collect()
    }

    pub(super) fn opened(&mut self, address: SocketAddr) {
        if let Some(stream) = self.streams.get_mut(&address) {
            stream.open = true;
        }
    }

    /// A stream gets nothing more and is about to end in order; what it has unreceipted stays with it.
    pub(super) fn ending(&mut self, address: SocketAddr) {
        if let Some(stream) = self.streams.get_mut(&address) {
            stream.open = false;
        }
    }

    /// A stream is gone: what it had unreceipted waits to be sent again.
    pub(super) fn closed(&mut self, address: SocketAddr, ending: Ending) {
        let Some(stream) = self.streams.get_mut(&address) else {
            return;
        };
        stream.open = false;
        for shipment in std::mem::take(&mut stream.unreceipted).into_values() {
            metrics::counter!("veilpost_link_resent_records_total")
                .increment(shipment.records().try_into().unwrap_or(0));
            match ending {
                Ending::Orderly => self.waiting.push_back(shipment),
                Ending::Broken => self.after_break(shipment),
            }
        }
    }

    /// What becomes of a shipment whose stream broke: sent again whole, unless it is under suspicion, then record by record,
    /// and left when even alone it did not come through.
    fn after_break(&mut self, mut shipment: Shipment<B>) {
        shipment.breaks += 1;
        if shipment.alone {
            give_up(&shipment);
        } else if !shipment.suspect && shipment.breaks <= RESENDS {
            self.waiting.push_back(shipment);
        } else {
            let last_id = &mut self.last_id;
            let singles = shipment.singles(|| {
                *last_id += 1;
                *last_id
            });
            self.waiting.extend(singles);
        }
    }

    /// Passes a receipt on to who waits for it; one for a batch that is not on this stream is ignored.
    pub(super) fn receipted(&mut self, address: SocketAddr, receipt: Receipt) -> Result<(), Misfit> {
        let Some(stream) = self.streams.get_mut(&address) else {
            return Ok(());
        };
        let Some(shipment) = stream.unreceipted.get(&receipt.batch_id) else {
            return Ok(());
        };
        let id = receipt.batch_id;
        shipment.receipted(receipt)?;
        stream.unreceipted.remove(&id);
        Ok(())
    }

    /// Accepts a new parcel; `next_send` says where it goes.
    pub(super) fn accept(&mut self, parcel: Parcel<B>) {
        self.last_id += 1;
        self.waiting.push_back(Shipment::new(parcel, self.last_id));
    }

    /// Whether a new parcel could be sent at once.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.is_empty() && self.least_loaded().is_some()
    }

    /// The next batch to send and the stream that gets it: the one with the fewest unreceipted records.
    ///
    /// A batch that is sent alone waits for an empty stream, and what stands behind it waits too: otherwise a busy
    /// stream would never become empty.
    pub(super) fn next_send(&mut self) -> Option<(SocketAddr, Arc<B>)> {
        let alone = self.waiting.front()?.alone;
        let address = if alone { self.empty()? } else { self.least_loaded()? };
        let shipment = self.waiting.pop_front()?;
        let batch = Arc::clone(&shipment.batch);
        let stream = self.streams.get_mut(&address)?;
        stream.last_id = shipment.id;
        stream.unreceipted.insert(shipment.id, shipment);
        Some((address, batch))
    }

    fn least_loaded(&self) -> Option<SocketAddr> {
        self.streams
            .iter()
            .filter(|(_, stream)| stream.takes(self.unreceipted_batches))
            .min_by_key(|(_, stream)| (stream.records(), stream.last_id))
            .map(|(address, _)| *address)
    }

    fn empty(&self) -> Option<SocketAddr> {
        self.streams.iter().find(|(_, stream)| stream.takes(1)).map(|(address, _)| *address)
    }

    pub(super) fn holds_nothing(&self) -> bool {
        self.waiting.is_empty() && self.streams.values().all(|stream| stream.unreceipted.is_empty())
    }

    /// Unreceipted records by address.
    pub(super) fn loads(&self) -> impl Iterator<Item = (SocketAddr, usize)> {
        self.streams.iter().map(|(address, stream)| (*address, stream.records()))
    }

    pub(super) fn open_streams(&self) -> usize {
        self.streams.values().filter(|stream| stream.open).count()
    }
}

fn give_up<B: Batch>(shipment: &Shipment<B>) {
    for index in 0..shipment.records() {
        let message_id = shipment.batch.message_id(index);
        tracing::error!(message_id, "a stream broke while only this record was on it; leaving the message");
    }
    metrics::counter!("veilpost_link_left_records_total")
        .increment(shipment.records().try_into().unwrap_or(0));
    shipment.leave();
}

impl<B> Default for Stream<B> {
    fn default() -> Self {
        Self { open: false, leaving: false, unreceipted: BTreeMap::new(), last_id: 0 }
    }
}

impl<B: Batch> Stream<B> {
    /// Whether it takes one more batch when it may have `limit` unreceipted.
    fn takes(&self, limit: usize) -> bool {
        let holds_one_alone = self.unreceipted.values().any(|shipment| shipment.alone);
        self.open && !self.leaving && !holds_one_alone && self.unreceipted.len() < limit
    }

    fn records(&self) -> usize {
        self.unreceipted.values().map(Shipment::records).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::sync::oneshot;
    use veilpost_proto::v1::{RawBatch, RawRecord};

    const LIMIT: usize = 2;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn fleet(ports: &[u16]) -> Fleet<RawBatch> {
        let mut fleet = Fleet::new(LIMIT);
        fleet.resolved(&ports.iter().copied().map(address).collect());
        for port in ports {
            fleet.opened(address(*port));
        }
        fleet
    }

    fn parcel(records: usize, suspect: bool) -> (Parcel<RawBatch>, oneshot::Receiver<Receipt>) {
        let (reply, receipt) = oneshot::channel();
        let batch = RawBatch { records: vec![RawRecord::default(); records], ..RawBatch::default() };
        (Parcel { batch, reply, suspect }, receipt)
    }

    fn send(fleet: &mut Fleet<RawBatch>, records: usize) -> oneshot::Receiver<Receipt> {
        let (parcel, reply) = parcel(records, false);
        fleet.accept(parcel);
        reply
    }

    fn stored(batch: &RawBatch) -> Receipt {
        Receipt { batch_id: batch.id, outcomes: vec![1; batch.records.len()], rejections: Vec::new() }
    }

    #[test]
    fn a_batch_goes_to_the_stream_with_the_fewest_unreceipted_records() {
        let mut fleet = fleet(&[1, 2]);
        let _replies: Vec<_> = [10, 1, 1].into_iter().map(|records| send(&mut fleet, records)).collect();
        let ports: Vec<_> =
            std::iter::from_fn(|| fleet.next_send()).map(|(address, _)| address.port()).collect();
        assert_eq!(ports, [1, 2, 2]);
        assert!(fleet.has_room(), "the first stream takes one more");
    }

    #[test]
    fn streams_with_equal_loads_take_turns() {
        let mut fleet = fleet(&[1, 2, 3]);
        let mut ports = Vec::new();
        for _ in 0..6 {
            let _reply = send(&mut fleet, 1);
            let (address, batch) = fleet.next_send().unwrap();
            ports.push(address.port());
            fleet.receipted(address, stored(&batch)).unwrap();
        }
        assert_eq!(ports, [1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn a_stream_that_left_the_look_up_gets_nothing_new_and_ends_when_receipted() {
        let mut fleet = fleet(&[1]);
        let _reply = send(&mut fleet, 1);
        let (_, batch) = fleet.next_send().unwrap();
        assert_eq!(fleet.resolved(&[address(2)].into()), Moves { joined: vec![address(2)], left: vec![] });
        assert!(!fleet.has_room(), "the new one is not open yet and the old one is leaving");
        fleet.receipted(address(1), stored(&batch)).unwrap();
        assert_eq!(fleet.take_retired(), [address(1)]);
    }

    #[test]
    fn a_stream_that_is_ending_gets_nothing_new_and_keeps_what_it_has() {
        let mut fleet = fleet(&[1]);
        let mut reply = send(&mut fleet, 1);
        let (_, batch) = fleet.next_send().unwrap();
        fleet.ending(address(1));
        assert!(!fleet.has_room() && !fleet.holds_nothing());
        fleet.receipted(address(1), stored(&batch)).unwrap();
        fleet.closed(address(1), Ending::Orderly);
        assert_eq!(reply.try_recv().unwrap().outcomes, [1]);
        fleet.opened(address(1));
        assert!(fleet.has_room());
    }

    #[test]
    fn an_orderly_end_blames_no_batch() {
        let mut fleet = fleet(&[1]);
        let mut reply = send(&mut fleet, 2);
        for _ in 0..10 {
            let (_, batch) = fleet.next_send().unwrap();
            assert_eq!(batch.records.len(), 2);
            fleet.closed(address(1), Ending::Orderly);
            fleet.opened(address(1));
        }
        assert!(reply.try_recv().is_err());
    }

    #[test]
    fn what_breaks_every_stream_is_sent_alone_and_then_left_while_its_neighbour_is_stored() {
        let mut fleet = fleet(&[1]);
        let mut reply = send(&mut fleet, 2);
        let mut sizes = Vec::new();
        while let Some((address, batch)) = fleet.next_send() {
            sizes.push(batch.records.len());
            let is_neighbour = batch.records.len() == 1 && sizes.len() == 6;
            if is_neighbour {
                fleet.receipted(address, stored(&batch)).unwrap();
            } else {
                fleet.closed(address, Ending::Broken);
                fleet.opened(address);
            }
        }
        assert_eq!(sizes, [2, 2, 2, 2, 1, 1]);
        assert_eq!(reply.try_recv().unwrap().outcomes, [0, 1]);
        assert!(fleet.holds_nothing());
    }

    #[test]
    fn suspects_flow_like_others_until_their_stream_breaks_and_then_one_at_a_time() {
        let mut fleet = fleet(&[1]);
        let (suspects, mut reply) = parcel(2, true);
        fleet.accept(suspects);
        let (_, batch) = fleet.next_send().unwrap();
        assert_eq!((batch.records.len(), batch.suspect), (2, true));
        assert!(fleet.has_room(), "others may share the stream");
        fleet.closed(address(1), Ending::Broken);
        fleet.opened(address(1));
        let (_, first) = fleet.next_send().unwrap();
        assert_eq!(first.records.len(), 1);
        assert!(fleet.next_send().is_none(), "nothing shares its stream");
        fleet.receipted(address(1), stored(&first)).unwrap();
        fleet.next_send().unwrap();
        fleet.closed(address(1), Ending::Broken);
        assert_eq!(reply.try_recv().unwrap().outcomes, [1, 0]);
        assert!(fleet.holds_nothing());
    }

    #[test]
    fn a_record_that_is_sent_alone_waits_for_an_empty_stream() {
        let mut fleet = fleet(&[1]);
        let (suspect, _suspect) = parcel(1, true);
        fleet.accept(suspect);
        fleet.next_send().unwrap();
        fleet.closed(address(1), Ending::Broken);
        fleet.opened(address(1));
        fleet.streams.get_mut(&address(1)).unwrap().open = false;
        let _regular = send(&mut fleet, 1);
        assert!(fleet.next_send().is_none());
        fleet.opened(address(1));
        let (_, alone) = fleet.next_send().unwrap();
        assert!(fleet.next_send().is_none(), "the regular batch waits for its receipt");
        fleet.receipted(address(1), stored(&alone)).unwrap();
        assert!(fleet.next_send().is_some());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Accept { records: usize, suspect: bool },
        Receipt(u16),
        Close(u16, bool),
        Open(u16),
        Resolve(Vec<u16>),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let port = 1u16..4;
        proptest::collection::vec(
            prop_oneof![
                3 => (1usize..4, proptest::bool::weighted(0.1)).prop_map(|(records, suspect)| Step::Accept { records, suspect }),
                3 => port.clone().prop_map(Step::Receipt),
                1 => (port.clone(), any::<bool>()).prop_map(|(port, broken)| Step::Close(port, broken)),
                2 => port.prop_map(Step::Open),
                1 => proptest::collection::vec(1u16..4, 0..4).prop_map(Step::Resolve),
            ],
            0..80,
        )
    }

    proptest! {
        #[test]
        fn every_parcel_is_answered_once_and_fully_whatever_the_streams_do(steps in steps()) {
            let mut fleet = fleet(&[1, 2]);
            let mut sent: BTreeMap<u16, Vec<Arc<RawBatch>>> = BTreeMap::new();
            let mut replies = Vec::new();
            let finish = [Step::Resolve(vec![1]), Step::Open(1)];
            for step in steps.into_iter().chain(finish) {
                match step {
                    Step::Accept { records, suspect } => {
                        let (parcel, reply) = parcel(records, suspect);
                        fleet.accept(parcel);
                        replies.push((records, reply));
                    }
                    Step::Receipt(port) => {
                        if let Some(batch) = sent.get_mut(&port).and_then(Vec::pop) {
                            fleet.receipted(address(port), stored(&batch)).unwrap();
                        }
                    }
                    Step::Close(port, broken) => {
                        sent.remove(&port);
                        fleet.closed(address(port), if broken { Ending::Broken } else { Ending::Orderly });
                    }
                    Step::Open(port) => fleet.opened(address(port)),
                    Step::Resolve(ports) => {
                        fleet.resolved(&ports.into_iter().map(address).collect());
                    }
                }
                fleet.take_retired();
                while let Some((address, batch)) = fleet.next_send() {
                    let on_stream = sent.entry(address.port()).or_default();
                    on_stream.push(batch);
                    prop_assert!(on_stream.len() <= LIMIT);
                }
            }
            while !fleet.holds_nothing() {
                for port in 1..4 {
                    while let Some(batch) = sent.get_mut(&port).and_then(Vec::pop) {
                        fleet.receipted(address(port), stored(&batch)).unwrap();
                    }
                }
                while let Some((address, batch)) = fleet.next_send() {
                    sent.entry(address.port()).or_default().push(batch);
                }
            }
            for (records, mut reply) in replies {
                prop_assert_eq!(reply.try_recv().unwrap().outcomes.len(), records);
            }
        }
    }
}
