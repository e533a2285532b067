//! The state of everything that the model knows.

use crate::clocks::Clocks;
use crate::database::{Node, Replication};
use crate::queue::QueuedMessage;

/// One of the two readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReaderId {
    One,
    Two,
}

/// One of the two writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriterId {
    One,
    Two,
}

/// What a writer reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The row was committed now.
    Stored,
    /// The row was committed before.
    Duplicate,
    /// There is no row.
    Rejected,
}

/// How far a reader is with its delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// To be sent to a writer.
    Unsent,
    /// Sent; the reader waits for the receipt.
    Sent(WriterId),
    /// To be deleted.
    Delete,
    /// To be copied to the dead-letter queue, and then deleted.
    DeadLetter,
}

/// A reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reader {
    /// It holds no message.
    Idle,
    /// It holds the delivery of the `receive`-th receive.
    Holding {
        /// Which receive of the message this is, from 1; stands for the receipt handle.
        receive: u8,
        /// How far the reader is.
        phase: Phase,
    },
}

/// A writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Writer {
    /// It has no statement.
    Idle,
    /// Its statement is on its way, or waits for a lock.
    Running,
    /// Its statement is committed on the primary, and the commit waits for the standby.
    Waiting {
        /// What it reports after the wait.
        outcome: Outcome,
        /// What the statement leaves on the primary when the wait ends in any way, or the primary restarts.
        commits: Node,
    },
}

/// Everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any mix is possible")]
pub struct State {
    pub message: QueuedMessage,
    pub readers: [Reader; 2],
    pub writers: [Writer; 2],
    pub primary: Node,
    pub standby: Node,
    pub replication: Replication,
    /// The table's column is too narrow for the message's value.
    pub column_is_narrow: bool,
    /// Which clock is wrong.
    pub clocks: Clocks,
    /// The queue moved the message by itself while a reader that could have settled it was holding it.
    pub moved_while_held: bool,
    /// A reader was told to leave the message to the queue while a clock was wrong.
    pub left_by_a_clock: bool,
    /// A slot of the ledger was emptied whose message can come again.
    pub emptied_in_use: bool,
}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            message: QueuedMessage::new(),
            readers: [Reader::Idle; 2],
            writers: [Writer::Idle; 2],
            primary: Node::new(),
            standby: Node::new(),
            replication: Replication::Connected,
            column_is_narrow: false,
            clocks: Clocks::Right,
            moved_while_held: false,
            left_by_a_clock: false,
            emptied_in_use: false,
        }
    }

    pub(crate) fn reader(&mut self, id: ReaderId) -> &mut Reader {
        let [one, two] = &mut self.readers;
        match id {
            ReaderId::One => one,
            ReaderId::Two => two,
        }
    }

    pub(crate) fn writer(&mut self, id: WriterId) -> &mut Writer {
        let [one, two] = &mut self.writers;
        match id {
            WriterId::One => one,
            WriterId::Two => two,
        }
    }

    /// The reader that waits for this writer; none when it died meanwhile.
    pub(crate) fn waiting_for(&mut self, writer: WriterId) -> Option<&mut Phase> {
        self.readers.iter_mut().find_map(|reader| match reader {
            Reader::Holding { phase, .. } if *phase == Phase::Sent(writer) => Some(phase),
            _ => None,
        })
    }

    /// Ends a writer's statement without a receipt: its reader sends the batch again.
    pub(crate) fn lose_statement(&mut self, writer: WriterId) {
        *self.writer(writer) = Writer::Idle;
        if let Some(phase) = self.waiting_for(writer) {
            *phase = Phase::Unsent;
        }
    }

    /// The reader that waits for this writer gives its delivery up.
    pub(crate) fn forget_delivery(&mut self, writer: WriterId) {
        for reader in &mut self.readers {
            if matches!(reader, Reader::Holding { phase: Phase::Sent(to), .. } if *to == writer) {
                *reader = Reader::Idle;
            }
        }
    }

    /// Whether a transaction that has inserted the key is still in progress; others wait for its lock.
    pub(crate) fn key_is_locked(&self) -> bool {
        self.writers
            .iter()
            .any(|writer| matches!(writer, Writer::Waiting { commits, .. } if *commits != self.primary))
    }

    /// Whether a reader that runs holds the newest delivery, so that its heartbeats keep the message hidden.
    pub(crate) fn is_kept_hidden(&self) -> bool {
        let holds = |reader: &Reader| match reader {
            Reader::Holding { receive, .. } => self.message.is_held_by(*receive),
            Reader::Idle => false,
        };
        !self.message.extensions_denied && self.readers.iter().any(holds)
    }

    /// Whether a reader that runs holds the newest delivery and does not know yet what becomes of it.
    pub(crate) fn is_undecided_in_a_reader(&self) -> bool {
        self.readers.iter().any(|reader| match reader {
            Reader::Holding { receive, phase: Phase::Unsent | Phase::Sent(_) } => {
                *receive == self.message.receives
            }
            _ => false,
        })
    }
}
