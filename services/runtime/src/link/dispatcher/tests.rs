//! The dispatcher against streams that open, break and leave in any order.

use super::*;
use proptest::prelude::*;
use tokio::sync::oneshot;
use veilpost_proto::v1::{MaskedBatch, MaskedRecord, RawBatch, RawRecord, RejectedRecord};

const LIMIT: usize = 2;
const TIMEOUT: Duration = Duration::from_mins(5);

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn dispatcher(ports: &[u16]) -> Dispatcher<RawBatch> {
    let mut dispatcher = Dispatcher::new(LIMIT, TIMEOUT);
    dispatcher.resolved(&ports.iter().copied().map(address).collect());
    for port in ports {
        dispatcher.opened(address(*port));
    }
    dispatcher
}

fn outgoing(records: usize, suspect: bool) -> (Outgoing<RawBatch>, oneshot::Receiver<Receipt>) {
    let (reply, receipt) = oneshot::channel();
    let batch = RawBatch { records: vec![RawRecord::default(); records], ..RawBatch::default() };
    (Outgoing { batch, reply, suspect }, receipt)
}

fn send(dispatcher: &mut Dispatcher<RawBatch>, records: usize) -> oneshot::Receiver<Receipt> {
    let (outgoing, reply) = outgoing(records, false);
    dispatcher.accept(outgoing);
    reply
}

fn stored(batch: &RawBatch) -> Receipt {
    Receipt { batch_id: batch.id, outcomes: vec![1; batch.records.len()], rejections: Vec::new() }
}

#[test]
fn a_batch_goes_to_the_stream_with_the_fewest_unreceipted_records() {
    let mut dispatcher = dispatcher(&[1, 2]);
    let _replies: Vec<_> = [10, 1, 1].into_iter().map(|records| send(&mut dispatcher, records)).collect();
    let ports: Vec<_> = std::iter::from_fn(|| dispatcher.next_send(Instant::now()))
        .map(|(address, _)| address.port())
        .collect();
    assert_eq!(ports, [1, 2, 2]);
    assert!(dispatcher.has_room(), "the first stream takes one more");
}

#[test]
fn streams_with_equal_loads_take_turns() {
    let mut dispatcher = dispatcher(&[1, 2, 3]);
    let mut ports = Vec::new();
    for _ in 0..6 {
        let _reply = send(&mut dispatcher, 1);
        let (address, batch) = dispatcher.next_send(Instant::now()).unwrap();
        ports.push(address.port());
        dispatcher.receipted(address, stored(&batch)).unwrap();
    }
    assert_eq!(ports, [1, 2, 3, 1, 2, 3]);
}

#[test]
fn a_stream_that_left_the_look_up_gets_nothing_new_and_ends_when_receipted() {
    let mut dispatcher = dispatcher(&[1]);
    let _reply = send(&mut dispatcher, 1);
    let (_, batch) = dispatcher.next_send(Instant::now()).unwrap();
    assert_eq!(
        dispatcher.resolved(&[address(2)].into()),
        AddressChanges { added: vec![address(2)], removed: vec![] }
    );
    assert!(!dispatcher.has_room(), "the new one is not open yet and the old one is retiring");
    dispatcher.receipted(address(1), stored(&batch)).unwrap();
    assert_eq!(dispatcher.take_retired(), [address(1)]);
}

#[test]
fn a_stream_that_is_ending_gets_nothing_new_and_keeps_what_it_has() {
    let mut dispatcher = dispatcher(&[1]);
    let mut reply = send(&mut dispatcher, 1);
    let (_, batch) = dispatcher.next_send(Instant::now()).unwrap();
    dispatcher.ending(address(1));
    assert!(!dispatcher.has_room() && !dispatcher.holds_nothing());
    dispatcher.receipted(address(1), stored(&batch)).unwrap();
    dispatcher.closed(address(1), StreamEnd::Orderly);
    assert_eq!(reply.try_recv().unwrap().outcomes, [1]);
    dispatcher.opened(address(1));
    assert!(dispatcher.has_room());
}

/// A batch with a masked record and a rejected one, on its way to these peers, the last of which claims keys.
fn with_claim(ports: &[u16]) -> (Dispatcher<MaskedBatch>, oneshot::Receiver<Receipt>) {
    let mut dispatcher = Dispatcher::new(LIMIT, TIMEOUT);
    dispatcher.resolved(&ports.iter().copied().map(address).collect());
    let (reply, receipt) = oneshot::channel();
    let batch = MaskedBatch {
        records: MaskedBatch::encoded([MaskedRecord::default()]),
        rejected: vec![RejectedRecord::default()],
        ..MaskedBatch::default()
    };
    dispatcher.accept(Outgoing { batch, reply, suspect: false });
    (dispatcher, receipt)
}

fn outcomes(batch: &MaskedBatch, outcomes: &[u8]) -> Receipt {
    Receipt { batch_id: batch.id, outcomes: outcomes.to_vec(), rejections: Vec::new() }
}

#[test]
fn rejected_records_go_to_a_peer_that_claims_their_keys() {
    let (mut dispatcher, mut reply) = with_claim(&[1, 2]);
    dispatcher.opened(address(1));
    dispatcher.opened(address(2));
    dispatcher.takes_claims(address(2));
    let (to, batch) = dispatcher.next_send(Instant::now()).unwrap();
    assert_eq!((to, batch.rejected.len()), (address(2), 1));
    dispatcher.receipted(to, outcomes(&batch, &[1, 2])).unwrap();
    assert_eq!(reply.try_recv().unwrap().outcomes, [1, 2]);
}

#[test]
fn where_no_peer_claims_keys_the_sender_rejects_by_itself() {
    let (mut dispatcher, mut reply) = with_claim(&[1]);
    dispatcher.opened(address(1));
    let (to, batch) = dispatcher.next_send(Instant::now()).unwrap();
    assert_eq!((batch.records.len(), batch.rejected.len()), (1, 0));
    assert!(dispatcher.receipted(to, outcomes(&batch, &[1, 1])).is_err(), "it knows of one record only");
    dispatcher.receipted(to, outcomes(&batch, &[2])).unwrap();
    let receipt = reply.try_recv().unwrap();
    assert_eq!((receipt.outcomes, receipt.rejections[0].index), (vec![2, 3], 1));
}

#[test]
fn a_peer_that_is_replaced_by_an_older_one_gets_no_rejected_records_again() {
    let (mut dispatcher, _reply) = with_claim(&[1]);
    dispatcher.opened(address(1));
    dispatcher.takes_claims(address(1));
    assert_eq!(dispatcher.next_send(Instant::now()).unwrap().1.rejected.len(), 1);
    dispatcher.closed(address(1), StreamEnd::Orderly);
    dispatcher.opened(address(1));
    assert!(dispatcher.next_send(Instant::now()).unwrap().1.rejected.is_empty());
}

#[test]
fn batches_that_are_held_take_no_room_from_others_within_a_bound() {
    let mut dispatcher = dispatcher(&[1]);
    let mut replies = Vec::new();
    for sent in 0..MAX_UNRECEIPTED_BATCHES {
        replies.push(send(&mut dispatcher, 1));
        assert!(dispatcher.next_send(Instant::now()).is_some(), "{sent} are held");
        dispatcher.tick();
        dispatcher.tick();
    }
    replies.push(send(&mut dispatcher, 1));
    assert!(dispatcher.next_send(Instant::now()).is_none());
}

#[test]
fn a_batch_that_is_sent_again_is_in_work_again() {
    let mut dispatcher = dispatcher(&[1]);
    let _replies: Vec<_> = (0..LIMIT).map(|_| send(&mut dispatcher, 1)).collect();
    while dispatcher.next_send(Instant::now()).is_some() {}
    dispatcher.tick();
    assert!(!dispatcher.has_room(), "one tick may be no time at all");
    dispatcher.tick();
    assert!(dispatcher.has_room());
    dispatcher.closed(address(1), StreamEnd::Orderly);
    dispatcher.opened(address(1));
    while dispatcher.next_send(Instant::now()).is_some() {}
    assert!(!dispatcher.has_room());
}

#[test]
fn an_orderly_end_blames_no_batch() {
    let mut dispatcher = dispatcher(&[1]);
    let mut reply = send(&mut dispatcher, 2);
    for _ in 0..10 {
        let (_, batch) = dispatcher.next_send(Instant::now()).unwrap();
        assert_eq!(batch.records.len(), 2);
        dispatcher.closed(address(1), StreamEnd::Orderly);
        dispatcher.opened(address(1));
    }
    assert!(reply.try_recv().is_err());
}

#[test]
fn what_breaks_every_stream_is_sent_alone_and_then_left_while_its_neighbour_is_stored() {
    let mut dispatcher = dispatcher(&[1]);
    let mut reply = send(&mut dispatcher, 2);
    let mut sizes = Vec::new();
    while let Some((address, batch)) = dispatcher.next_send(Instant::now()) {
        sizes.push(batch.records.len());
        let is_neighbour = batch.records.len() == 1 && sizes.len() == 6;
        if is_neighbour {
            dispatcher.receipted(address, stored(&batch)).unwrap();
        } else {
            dispatcher.closed(address, StreamEnd::Broken);
            dispatcher.opened(address);
        }
    }
    assert_eq!(sizes, [2, 2, 2, 2, 1, 1]);
    assert_eq!(reply.try_recv().unwrap().outcomes, [0, 1]);
    assert!(dispatcher.holds_nothing());
}

#[test]
fn suspects_flow_like_others_until_their_stream_breaks_and_then_one_at_a_time() {
    let mut dispatcher = dispatcher(&[1]);
    let (suspects, mut reply) = outgoing(2, true);
    dispatcher.accept(suspects);
    let (_, batch) = dispatcher.next_send(Instant::now()).unwrap();
    assert_eq!((batch.records.len(), batch.suspect), (2, true));
    assert!(dispatcher.has_room(), "others may share the stream");
    dispatcher.closed(address(1), StreamEnd::Broken);
    dispatcher.opened(address(1));
    let (_, first) = dispatcher.next_send(Instant::now()).unwrap();
    assert_eq!(first.records.len(), 1);
    assert!(dispatcher.next_send(Instant::now()).is_none(), "nothing shares its stream");
    dispatcher.receipted(address(1), stored(&first)).unwrap();
    dispatcher.next_send(Instant::now()).unwrap();
    dispatcher.closed(address(1), StreamEnd::Broken);
    assert_eq!(reply.try_recv().unwrap().outcomes, [1, 0]);
    assert!(dispatcher.holds_nothing());
}

#[test]
fn a_record_that_is_sent_alone_waits_for_an_empty_stream() {
    let mut dispatcher = dispatcher(&[1]);
    let (suspect, _suspect) = outgoing(1, true);
    dispatcher.accept(suspect);
    dispatcher.next_send(Instant::now()).unwrap();
    dispatcher.closed(address(1), StreamEnd::Broken);
    dispatcher.opened(address(1));
    dispatcher.streams.get_mut(&address(1)).unwrap().open = false;
    let _regular = send(&mut dispatcher, 1);
    assert!(dispatcher.next_send(Instant::now()).is_none());
    dispatcher.opened(address(1));
    let (_, alone) = dispatcher.next_send(Instant::now()).unwrap();
    assert!(dispatcher.next_send(Instant::now()).is_none(), "the regular batch waits for its receipt");
    dispatcher.receipted(address(1), stored(&alone)).unwrap();
    assert!(dispatcher.next_send(Instant::now()).is_some());
}

#[test]
fn a_stream_that_owes_a_receipt_is_overdue_and_its_batch_moves_with_twice_the_time() {
    let mut dispatcher = dispatcher(&[1, 2]);
    let begin = Instant::now();
    let mut reply = send(&mut dispatcher, 1);
    let (first, _) = dispatcher.next_send(begin).unwrap();
    assert_eq!(dispatcher.next_deadline(), Some(begin + TIMEOUT));
    assert!(dispatcher.take_overdue(begin + TIMEOUT - Duration::from_millis(1)).is_empty());
    let late = begin + TIMEOUT;
    assert_eq!(dispatcher.take_overdue(late), [first]);
    dispatcher.closed(first, StreamEnd::Orderly);
    dispatcher.opened(first);
    let (second, batch) = dispatcher.next_send(late).unwrap();
    assert_ne!(second, first, "another stream is there");
    assert_eq!(dispatcher.next_deadline(), Some(late + TIMEOUT * 2));
    dispatcher.receipted(second, stored(&batch)).unwrap();
    assert_eq!(reply.try_recv().unwrap().outcomes, [1]);
    assert_eq!(dispatcher.next_deadline(), None);
}

#[test]
fn an_overdue_stream_gets_what_others_do_not_take_and_is_trusted_again_after_a_receipt() {
    let mut dispatcher = dispatcher(&[1, 2]);
    let begin = Instant::now();
    let mut replies: Vec<_> = (0..2).map(|_| send(&mut dispatcher, 1)).collect();
    let (first, _) = dispatcher.next_send(begin).unwrap();
    let (second, batch) = dispatcher.next_send(begin).unwrap();
    dispatcher.receipted(second, stored(&batch)).unwrap();
    let late = begin + TIMEOUT;
    assert_eq!(dispatcher.take_overdue(late), [first]);
    dispatcher.closed(first, StreamEnd::Orderly);
    dispatcher.opened(first);
    replies.extend((0..3).map(|_| send(&mut dispatcher, 1)));
    let sent: Vec<_> = std::iter::from_fn(|| dispatcher.next_send(late)).collect();
    let to: Vec<_> = sent.iter().map(|(address, _)| *address).collect();
    assert_eq!(to, [second, second, first], "one batch is on probation");
    for (address, batch) in &sent {
        dispatcher.receipted(*address, stored(batch)).unwrap();
    }
    let to: Vec<_> = std::iter::from_fn(|| dispatcher.next_send(late)).map(|(address, _)| address).collect();
    assert_eq!(to.len(), 1);
    replies.extend((0..3).map(|_| send(&mut dispatcher, 1)));
    assert_eq!(std::iter::from_fn(|| dispatcher.next_send(late)).count(), 3, "both take two again");
}

#[test]
fn a_distrusted_stream_is_tried_again_after_a_while_although_others_have_room() {
    let mut dispatcher = dispatcher(&[1, 2]);
    let begin = Instant::now();
    let _reply = send(&mut dispatcher, 1);
    let (first, _) = dispatcher.next_send(begin).unwrap();
    dispatcher.take_overdue(begin + TIMEOUT);
    dispatcher.closed(first, StreamEnd::Orderly);
    dispatcher.opened(first);
    let mut tried = |now| {
        let mut replies = Vec::new();
        (0..3).any(|_| {
            replies.push(send(&mut dispatcher, 1));
            let (address, batch) = dispatcher.next_send(now).unwrap();
            dispatcher.receipted(address, stored(&batch)).unwrap();
            address == first
        })
    };
    assert!(!tried(begin + TIMEOUT));
    assert!(tried(begin + TIMEOUT * 2));
}

#[test]
fn a_batch_that_its_peer_holds_back_gets_more_time_and_its_stream_stays() {
    let mut dispatcher = dispatcher(&[1]);
    let mut now = Instant::now();
    let _held = send(&mut dispatcher, 1);
    dispatcher.next_send(now).unwrap();
    for doublings in 0..MAX_DOUBLINGS {
        let _answered = send(&mut dispatcher, 1);
        let (stream, later) = dispatcher.next_send(now).unwrap();
        dispatcher.receipted(stream, stored(&later)).unwrap();
        now += TIMEOUT * (1 << doublings);
        assert_eq!(dispatcher.next_deadline(), Some(now));
        assert!(dispatcher.take_overdue(now).is_empty(), "its peer is not stuck");
        assert_eq!(dispatcher.next_deadline(), Some(now + TIMEOUT * (2 << doublings)));
    }
    now += TIMEOUT * (1 << MAX_DOUBLINGS);
    assert_eq!(dispatcher.take_overdue(now), [address(1)], "not for ever");
}

#[test]
fn nothing_waits_on_a_peer_whose_address_has_left() {
    let mut dispatcher = dispatcher(&[1]);
    let begin = Instant::now();
    let _replies = [send(&mut dispatcher, 1), send(&mut dispatcher, 1)];
    dispatcher.next_send(begin).unwrap();
    let (stream, later) = dispatcher.next_send(begin).unwrap();
    dispatcher.receipted(stream, stored(&later)).unwrap();
    dispatcher.resolved(&BTreeSet::from([address(2)]));
    assert_eq!(dispatcher.take_overdue(begin + TIMEOUT), [stream]);
}

#[test]
fn a_peer_that_answered_only_before_it_got_a_batch_is_stuck() {
    let mut dispatcher = dispatcher(&[1]);
    let begin = Instant::now();
    let _replies = [send(&mut dispatcher, 1), send(&mut dispatcher, 1)];
    let (stream, first) = dispatcher.next_send(begin).unwrap();
    dispatcher.next_send(begin).unwrap();
    dispatcher.receipted(stream, stored(&first)).unwrap();
    assert_eq!(dispatcher.take_overdue(begin + TIMEOUT), [stream]);
}

#[test]
fn a_stream_on_probation_takes_what_comes_past_the_batches_that_are_held() {
    let mut dispatcher = dispatcher(&[1]);
    let begin = Instant::now();
    let _held: Vec<_> = (0..LIMIT).map(|_| send(&mut dispatcher, 1)).collect();
    while dispatcher.next_send(begin).is_some() {}
    let late = begin + TIMEOUT;
    assert_eq!(dispatcher.take_overdue(late), [address(1)]);
    dispatcher.closed(address(1), StreamEnd::Orderly);
    dispatcher.opened(address(1));
    let mut reply = send(&mut dispatcher, 1);
    let mut last = None;
    for _ in 0..=LIMIT {
        last = dispatcher.next_send(late);
        assert!(dispatcher.next_send(late).is_none(), "one at a time");
        for _ in 0..HELD_AFTER_TICKS {
            dispatcher.tick();
        }
    }
    dispatcher.receipted(address(1), stored(&last.unwrap().1)).unwrap();
    assert_eq!(reply.try_recv().unwrap().outcomes, [1]);
    assert!(dispatcher.has_room());
}

#[test]
fn a_stuck_stream_is_tried_with_one_batch_in_each_receipt_timeout() {
    let mut dispatcher = dispatcher(&[1, 2]);
    let begin = Instant::now();
    let mut replies = vec![send(&mut dispatcher, 1)];
    let (stuck, _) = dispatcher.next_send(begin).unwrap();
    dispatcher.take_overdue(begin + TIMEOUT);
    dispatcher.closed(stuck, StreamEnd::Orderly);
    dispatcher.opened(stuck);
    // The other one has much to do.
    let mut trials = |now| {
        let mut trials = 0;
        for _ in 0..10 {
            replies.push(send(&mut dispatcher, 10));
            let (address, _) = dispatcher.next_send(now).unwrap();
            trials += usize::from(address == stuck);
            (0..HELD_AFTER_TICKS).for_each(|_| dispatcher.tick());
        }
        trials
    };
    assert_eq!([1, 2, 2, 3].map(|timeouts| trials(begin + TIMEOUT * timeouts)), [0, 1, 0, 1]);
}

#[test]
fn a_waiting_batch_that_nobody_waits_for_is_dropped() {
    let mut dispatcher = dispatcher(&[1]);
    drop(send(&mut dispatcher, 1));
    assert!(dispatcher.next_send(Instant::now()).is_none());
    assert!(dispatcher.holds_nothing());
}

#[derive(Debug, Clone)]
enum DispatcherStep {
    Accept { records: usize, suspect: bool },
    Receipt(u16),
    Close(u16, bool),
    Open(u16),
    Resolve(Vec<u16>),
}

fn steps() -> impl Strategy<Value = Vec<DispatcherStep>> {
    let port = 1u16..4;
    proptest::collection::vec(
        prop_oneof![
            3 => (1usize..4, proptest::bool::weighted(0.1)).prop_map(|(records, suspect)| DispatcherStep::Accept { records, suspect }),
            3 => port.clone().prop_map(DispatcherStep::Receipt),
            1 => (port.clone(), any::<bool>()).prop_map(|(port, broken)| DispatcherStep::Close(port, broken)),
            2 => port.prop_map(DispatcherStep::Open),
            1 => proptest::collection::vec(1u16..4, 0..4).prop_map(DispatcherStep::Resolve),
        ],
        0..80,
    )
}

proptest! {
    #[test]
    fn every_batch_is_answered_once_and_fully_whatever_the_streams_do(steps in steps()) {
        let mut dispatcher = dispatcher(&[1, 2]);
        let mut sent: BTreeMap<u16, Vec<Arc<RawBatch>>> = BTreeMap::new();
        let mut replies = Vec::new();
        let finish = [DispatcherStep::Resolve(vec![1]), DispatcherStep::Open(1)];
        for step in steps.into_iter().chain(finish) {
            match step {
                DispatcherStep::Accept { records, suspect } => {
                    let (outgoing, reply) = outgoing(records, suspect);
                    dispatcher.accept(outgoing);
                    replies.push((records, reply));
                }
                DispatcherStep::Receipt(port) => {
                    if let Some(batch) = sent.get_mut(&port).and_then(Vec::pop) {
                        dispatcher.receipted(address(port), stored(&batch)).unwrap();
                    }
                }
                DispatcherStep::Close(port, broken) => {
                    sent.remove(&port);
                    dispatcher.closed(address(port), if broken { StreamEnd::Broken } else { StreamEnd::Orderly });
                }
                DispatcherStep::Open(port) => dispatcher.opened(address(port)),
                DispatcherStep::Resolve(ports) => {
                    dispatcher.resolved(&ports.into_iter().map(address).collect());
                }
            }
            dispatcher.take_retired();
            while let Some((address, batch)) = dispatcher.next_send(Instant::now()) {
                let on_stream = sent.entry(address.port()).or_default();
                on_stream.push(batch);
                prop_assert!(on_stream.len() <= LIMIT);
            }
        }
        while !dispatcher.holds_nothing() {
            for port in 1..4 {
                while let Some(batch) = sent.get_mut(&port).and_then(Vec::pop) {
                    dispatcher.receipted(address(port), stored(&batch)).unwrap();
                }
            }
            while let Some((address, batch)) = dispatcher.next_send(Instant::now()) {
                sent.entry(address.port()).or_default().push(batch);
            }
        }
        for (records, mut reply) in replies {
            prop_assert_eq!(reply.try_recv().unwrap().outcomes.len(), records);
        }
    }
}
