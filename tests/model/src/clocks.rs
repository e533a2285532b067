//! The clocks of the database and of the writers' machine, and what they make of the message's sent time.

use veilpost_writer::{ClockReadings, WindowDecision, decide_by_window, idle_slot, slot_of};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// When the message was sent, in milliseconds since the Unix epoch: the noon of some day. It is also the
/// right time.
const SENT_MS: i64 = 20_000 * DAY_MS + DAY_MS / 2;

/// Which clock is wrong. The queue's never is; a clock that is right again stands for one that was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Clocks {
    /// None.
    Right,
    /// The database's is two days behind: then it takes today's slot for the idle one.
    DatabaseBehind,
    /// The database's is twenty days ahead: then the message is too old for it.
    DatabaseAhead,
    /// The writers' machine is twenty days ahead.
    HostAhead,
}

impl Clocks {
    pub(crate) fn every() -> [Self; 4] {
        [Self::Right, Self::DatabaseBehind, Self::DatabaseAhead, Self::HostAhead]
    }

    fn readings(self) -> ClockReadings {
        let (database_days, host_days) = match self {
            Self::Right => (0, 0),
            Self::DatabaseBehind => (-2, 0),
            Self::DatabaseAhead => (20, 0),
            Self::HostAhead => (0, 20),
        };
        ClockReadings {
            database_ms: SENT_MS + database_days * DAY_MS,
            host_ms: SENT_MS + host_days * DAY_MS,
            newest_sent_ms: Some(SENT_MS),
        }
    }

    /// What a writer does with the message. While the clocks are wrong, no other record is stored: all of
    /// them are as old.
    pub(crate) fn decide(self) -> WindowDecision {
        let ClockReadings { database_ms, host_ms, .. } = self.readings();
        decide_by_window(database_ms, host_ms, SENT_MS, false)
    }

    /// Whether the database's clock alone takes the message's slot for the idle one.
    pub(crate) fn slot_looks_idle(self) -> bool {
        idle_slot(self.readings().database_ms) == Some(slot_of(SENT_MS))
    }

    /// Whether upkeep may empty the message's slot, by what all clocks say.
    pub(crate) fn may_empty(self) -> bool {
        self.slot_looks_idle() && self.readings().may_empty(SENT_MS)
    }
}
