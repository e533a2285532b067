//! The database: a primary and its synchronous standby, each with the rows and the key of the one message.

use veilpost_writer::LedgerEntry;

/// What the ledger of a node holds for the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// No key.
    Absent,
    /// The key of a stored message.
    Stored,
    /// The key of a message that was rejected; there is no row, and there never will be one.
    Rejected,
}

impl Key {
    /// What a statement finds that inserts the key where it is missing.
    pub(crate) fn found(self) -> LedgerEntry {
        match self {
            Self::Absent => LedgerEntry::New,
            Self::Stored => LedgerEntry::Stored,
            Self::Rejected => LedgerEntry::Rejected,
        }
    }
}

/// One node of the database, with what is committed on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// How many rows the message has; two are one too many, and more are not counted.
    pub rows: u8,
    /// What the ledger holds.
    pub key: Key,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self { rows: 0, key: Key::Absent }
    }

    pub(crate) fn with_row(self) -> Self {
        Self { rows: (self.rows + 1).min(2), key: Key::Stored }
    }
}

/// Whether commits on the primary reach the standby.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Replication {
    /// A commit returns once the standby has it.
    Connected,
    /// The standby is cut off, and commits wait.
    Cut,
    /// The standby was promoted and is the only node; what only the old primary had is gone.
    Promoted,
}
