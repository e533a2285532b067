//! What becomes of a message by what the ledger has for its key: the rule that makes a stored message never
//! rejected and a rejected one never stored.

/// What a writer wants to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Insert its row together with its key.
    Store,
    /// Insert its key with a mark and no row.
    Reject,
}

/// What the ledger has for a key, as a statement finds it that inserts missing keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerEntry {
    /// Nothing; the statement has inserted the key, for its own purpose.
    New,
    /// The key of a message that is stored.
    Stored,
    /// The marked key of a message that is rejected.
    Rejected,
}

/// What the writer reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The row was committed now.
    Stored,
    /// The row was committed before.
    Duplicate,
    /// There is no row, and there will be none.
    Rejected,
}

/// What becomes of a message. Nothing that an earlier delivery has led to is ever changed.
pub fn fate(purpose: Purpose, found: LedgerEntry) -> Fate {
    match (found, purpose) {
        (LedgerEntry::New, Purpose::Store) => Fate::Stored,
        (LedgerEntry::Stored, _) => Fate::Duplicate,
        (LedgerEntry::Rejected, _) | (LedgerEntry::New, Purpose::Reject) => Fate::Rejected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_is_never_rejected_and_what_was_rejected_is_never_stored() {
        for purpose in [Purpose::Store, Purpose::Reject] {
            assert_eq!(fate(purpose, LedgerEntry::Stored), Fate::Duplicate);
            assert_eq!(fate(purpose, LedgerEntry::Rejected), Fate::Rejected);
        }
        assert_eq!(fate(Purpose::Store, LedgerEntry::New), Fate::Stored);
        assert_eq!(fate(Purpose::Reject, LedgerEntry::New), Fate::Rejected);
    }
}
