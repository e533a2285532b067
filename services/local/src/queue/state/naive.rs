//! The state beside a naive model of it, which scans all messages at every step.

use std::collections::BTreeMap;

use proptest::prelude::*;
use uuid::Uuid;

use super::{Account, Content, Millis, ReceiptHandle, SqsError, arn_of};

const QUEUES: [&str; 2] = ["source", "dead"];
const MAX_RECEIVES: u32 = 3;

/// The default of SQS: four days.
const RETENTION: Millis = 345_600_000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Visible { turn: usize },
    Delayed { until: Millis },
    Hidden { until: Millis, received: Millis },
}

struct NaiveMessage {
    id: Uuid,
    sent: Millis,
    /// Orders messages that are shown at one time and were sent at one time.
    number: usize,
    /// Its place in `QUEUES`; none once it is deleted.
    queue: Option<usize>,
    place: Place,
    receives: u32,
    receives_here: u32,
}

#[derive(Clone, Debug)]
enum Step {
    Send {
        delay: Millis,
    },
    Receive {
        queue: usize,
        most: usize,
        visibility: Millis,
    },
    /// The handle of an earlier delivery, counted back from the last one.
    Delete {
        back: usize,
    },
    Change {
        back: usize,
        visibility: Millis,
    },
    Pass {
        millis: Millis,
    },
}

/// The account, its model, and the handles of all deliveries with what they stand for in the model.
struct Pair {
    account: Account,
    messages: Vec<NaiveMessage>,
    handles: Vec<(ReceiptHandle, usize, usize, u32)>,
    turns: usize,
    now: Millis,
}

impl Pair {
    fn new() -> Self {
        let mut account = Account::default();
        let policy =
            format!(r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":{MAX_RECEIVES}}}"#, arn_of(QUEUES[1]));
        account.create(0, QUEUES[1], &BTreeMap::new()).unwrap();
        account.create(0, QUEUES[0], &BTreeMap::from([("RedrivePolicy".to_owned(), policy)])).unwrap();
        Self { account, messages: Vec::new(), handles: Vec::new(), turns: 0, now: 1_000 }
    }

    fn turn(&mut self) -> Place {
        self.turns += 1;
        Place::Visible { turn: self.turns }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Send { delay } => self.send(delay),
            Step::Receive { queue, most, visibility } => self.receive(queue, most, visibility),
            Step::Delete { back } => self.delete(back),
            Step::Change { back, visibility } => self.change(back, visibility),
            Step::Pass { millis } => self.now += millis,
        }
        self.show_due();
        self.compare_counts();
    }

    /// What is too old is gone, and what is due becomes visible in the order of its time.
    fn show_due(&mut self) {
        let now = self.now;
        for message in self.messages.iter_mut().filter(|message| message.sent + RETENTION < now) {
            message.queue = None;
        }
        let due = |place| match place {
            Place::Hidden { until, .. } | Place::Delayed { until } => {
                Some(until).filter(|until| *until <= now)
            }
            Place::Visible { .. } => None,
        };
        let mut shown: Vec<(Millis, Millis, usize, usize)> = (self.messages.iter().enumerate())
            .filter(|(_, message)| message.queue.is_some())
            .filter_map(|(index, message)| Some((due(message.place)?, message.sent, message.number, index)))
            .collect();
        shown.sort_unstable();
        for (.., index) in shown {
            self.messages[index].place = self.turn();
        }
    }

    fn send(&mut self, delay: Millis) {
        let content = Content::new("{}", Vec::new(), None);
        let sent = self.account.send(self.now, QUEUES[0], content, Some(delay)).unwrap();
        let visible = self.turn();
        let place = if delay == 0 { visible } else { Place::Delayed { until: self.now + delay } };
        self.messages.push(NaiveMessage {
            id: sent.id,
            sent: self.now,
            number: self.turns,
            queue: Some(0),
            place,
            receives: 0,
            receives_here: 0,
        });
    }

    fn receive(&mut self, queue: usize, most: usize, visibility: Millis) {
        let mut expected = Vec::new();
        while expected.len() < most {
            let Some(index) = self.first_visible(queue) else { break };
            if queue == 0 && self.messages[index].receives_here == MAX_RECEIVES {
                let place = self.turn();
                let message = &mut self.messages[index];
                (message.queue, message.receives_here, message.place) = (Some(1), 0, place);
                message.number = self.turns;
                continue;
            }
            let message = &mut self.messages[index];
            message.receives += 1;
            message.receives_here += 1;
            message.place = Place::Hidden { until: self.now + visibility, received: self.now };
            expected.push(index);
        }
        let delivered = self.account.receive(self.now, QUEUES[queue], most, Some(visibility)).unwrap();
        let seen = delivered.iter().map(|one| (one.message.id, one.sent, one.message.receives));
        let wanted = expected.iter().map(|index| &self.messages[*index]);
        let wanted = wanted.map(|message| (message.id, message.sent, message.receives));
        assert_eq!(seen.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
        for (delivery, index) in delivered.iter().zip(expected) {
            assert_eq!(delivery.message.source.is_some(), queue == 1);
            let handle = delivery.handle;
            assert!(self.handles.iter().all(|(earlier, ..)| *earlier != handle), "a handle came twice");
            self.handles.push((handle, queue, index, delivery.message.receives));
        }
    }

    fn first_visible(&self, queue: usize) -> Option<usize> {
        let visible = self.messages.iter().enumerate().filter(|(_, message)| message.queue == Some(queue));
        let turns = visible.filter_map(|(index, message)| match message.place {
            Place::Visible { turn } => Some((turn, index)),
            _ => None,
        });
        turns.min().map(|(_, index)| index)
    }

    fn delete(&mut self, back: usize) {
        let Some(&(handle, queue, index, receive)) = self.handles.iter().rev().nth(back) else { return };
        self.account.delete(QUEUES[queue], Some(handle)).unwrap();
        let message = &mut self.messages[index];
        if message.queue == Some(queue) && message.receives == receive {
            message.queue = None;
        }
    }

    fn change(&mut self, back: usize, visibility: Millis) {
        let Some(&(handle, queue, index, receive)) = self.handles.iter().rev().nth(back) else { return };
        let changed = self.account.change_visibility(self.now, QUEUES[queue], Some(handle), visibility);
        let now = self.now;
        let shown = self.turns + 1;
        let message = &mut self.messages[index];
        let is_current = message.queue == Some(queue) && message.receives == receive;
        match message.place {
            Place::Hidden { received, .. } if is_current && now + visibility <= received + 43_200_000 => {
                assert!(changed.is_ok());
                message.place = Place::Hidden { until: now + visibility, received };
                if visibility == 0 {
                    message.place = Place::Visible { turn: shown };
                    self.turns = shown;
                }
            }
            _ => assert!(changed.is_err()),
        }
    }

    fn compare_counts(&mut self) {
        for (number, queue) in QUEUES.iter().enumerate() {
            let shown = self.account.attributes(self.now, queue, &["All".to_owned()]).unwrap();
            let here = || self.messages.iter().filter(|message| message.queue == Some(number));
            let visible = here().filter(|message| matches!(message.place, Place::Visible { .. })).count();
            let hidden = here().filter(|message| matches!(message.place, Place::Hidden { .. })).count();
            let delayed = here().count() - visible - hidden;
            let count = |name: &str| shown[&format!("ApproximateNumberOfMessages{name}")].parse().unwrap();
            assert_eq!((visible, hidden, delayed), (count(""), count("NotVisible"), count("Delayed")));
        }
    }
}

fn visibilities() -> impl Strategy<Value = Millis> {
    prop_oneof![Just(0), Just(1_000), Just(30_000), 0..43_200_000_u64]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop_oneof![Just(0), 0..3_000_u64].prop_map(|delay| Step::Send { delay }),
        6 => (0..2_usize, 1..11_usize, visibilities())
            .prop_map(|(queue, most, visibility)| Step::Receive { queue, most, visibility }),
        3 => (0..12_usize).prop_map(|back| Step::Delete { back }),
        2 => (0..12_usize, visibilities()).prop_map(|(back, visibility)| Step::Change { back, visibility }),
        4 => prop_oneof![0..2_000_u64, 0..50_000_000_u64].prop_map(|millis| Step::Pass { millis }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Counts are exact, nothing is lost, nothing is delivered while it is hidden, and a message moves to the
    /// dead-letter queue exactly at the receive that follows its last one.
    #[test]
    fn the_queue_does_what_a_naive_model_does(steps in prop::collection::vec(steps(), 1..120)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.run(step);
        }
    }
}

#[test]
fn a_message_is_received_as_often_as_its_queue_allows_and_then_from_the_dead_letter_queue()
-> Result<(), SqsError> {
    let mut pair = Pair::new();
    pair.send(0);
    let mut counts = Vec::new();
    for queue in [0, 0, 0, 0, 1, 1] {
        pair.now += 1_000;
        let received = pair.account.receive(pair.now, QUEUES[queue], 10, Some(0))?;
        counts.push(received.first().map(|delivery| delivery.message.receives));
    }
    assert_eq!(counts, [Some(1), Some(2), Some(3), None, Some(4), Some(5)]);
    Ok(())
}

#[test]
fn many_waiting_messages_do_not_slow_a_receive() {
    let mut pair = Pair::new();
    for number in 0..200_000 {
        let content = Content::new("{}", Vec::new(), None);
        pair.account.send(number, QUEUES[0], content, None).unwrap();
    }
    let mut received = 0;
    for number in 0..1_000 {
        received += pair.account.receive(200_000 + number, QUEUES[0], 10, Some(1)).unwrap().len();
    }
    assert_eq!(received, 10_000);
}
