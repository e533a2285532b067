//! What may happen next.

use crate::clocks::Clocks;
use crate::state::{ReaderId, WriterId};

/// One step of a reader, a writer, the queue, the database, or of bad luck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A reader receives the message; after the last receive the queue moves it instead.
    Receive(ReaderId),
    /// A reader sends its record to a writer, which starts a statement.
    Send(ReaderId, WriterId),
    /// A statement runs on the primary.
    Execute(WriterId),
    /// The standby has the commit, and the writer reports the outcome.
    Acknowledge(WriterId),
    /// A reader deletes the message.
    Delete(ReaderId),
    /// A reader takes the message for deleted, but the call did nothing.
    LoseDelete(ReaderId),
    /// A reader sends a copy to the dead-letter queue.
    DeadLetter(ReaderId),
    /// The visibility timeout ends.
    Expire,
    /// Extensions of the visibility timeout are denied from now on, or allowed again.
    TogglePermission,
    /// A reader dies, and with it what it knew. Its writer's statement goes on.
    KillReader(ReaderId),
    /// A writer loses its connection before the statement has run.
    LoseConnection(WriterId),
    /// Somebody cancels the wait for the standby: the commit succeeds with a warning.
    CancelWait(WriterId),
    /// The primary crashes and restarts, with everything that it has committed.
    RestartPrimary,
    /// The standby is cut off, or comes back and catches up.
    ToggleStandby,
    /// The standby becomes the primary.
    Promote,
    /// The column becomes too narrow for the value, or wide enough again.
    ToggleColumn,
    /// A clock jumps by days, or all of them are set right.
    SetClocks(Clocks),
    /// Upkeep empties the slot that the database's clock takes for past.
    TruncateSlot,
}

impl Action {
    /// Every action there is.
    pub(crate) fn every() -> Vec<Self> {
        let readers = [ReaderId::One, ReaderId::Two];
        let writers = [WriterId::One, WriterId::Two];
        let mut actions = vec![
            Self::Expire,
            Self::TogglePermission,
            Self::RestartPrimary,
            Self::ToggleStandby,
            Self::Promote,
            Self::ToggleColumn,
            Self::TruncateSlot,
        ];
        actions.extend(Clocks::every().map(Self::SetClocks));
        for reader in readers {
            actions.extend(
                [Self::Receive, Self::Delete, Self::LoseDelete, Self::DeadLetter, Self::KillReader]
                    .map(|action| action(reader)),
            );
            actions.extend(writers.map(|writer| Self::Send(reader, writer)));
        }
        for writer in writers {
            actions.extend(
                [Self::Execute, Self::Acknowledge, Self::LoseConnection, Self::CancelWait]
                    .map(|action| action(writer)),
            );
        }
        actions
    }
}
