//! What became of a record.

use veilpost_proto::ReceiptBuilder;
use veilpost_proto::v1::{Outcome, Reason};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RecordOutcome {
    Stored,
    /// The ledger knows its key: it was stored before.
    Duplicate,
    /// It can never be stored; the text names the column and the rule, never a value.
    Rejected(Reason, String),
    /// Neither stored nor rejected: the message stays in the queue.
    Left,
    /// The same, with what is known of why; never a value.
    Undecided(String),
}

impl RecordOutcome {
    /// Writes the outcome of the record at `position` into its batch's receipt.
    pub(crate) fn write_to(self, receipt: &mut ReceiptBuilder, position: usize) {
        match self {
            Self::Stored => receipt.set(position, Outcome::Stored),
            Self::Duplicate => receipt.set(position, Outcome::Duplicate),
            Self::Rejected(reason, detail) => receipt.reject(position, reason, detail),
            Self::Left => receipt.set(position, Outcome::Unspecified),
            Self::Undecided(detail) => receipt.leave_undecided(position, detail),
        }
    }
}
