//! A record that is rejected, until its key is claimed.

use std::fmt;

use veilpost_proto::v1::{Reason, RejectedRecord};

use super::Record;
use crate::ledger::Key;

/// A record that is rejected, unless the ledger knows its message. It holds no value.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The record's position in its batch.
    pub(crate) position: usize,
    pub(crate) key: Key,
    /// When SQS took the message, in milliseconds since the Unix epoch.
    pub(crate) sent_ms: i64,
    pub(crate) message_id: String,
    pub(crate) reason: Reason,
    /// Names the column and the rule, never a value.
    pub(crate) detail: String,
    pub(crate) last_receive: bool,
    /// Whether the table's definition was the judge; the masker judges without it.
    pub(crate) by_definition: bool,
}

impl Claim {
    pub(crate) fn of(record: &Record, reason: Reason, detail: String) -> Self {
        Self {
            position: record.position,
            key: record.key,
            sent_ms: record.sent_ms,
            message_id: record.message_id().to_owned(),
            reason,
            detail,
            last_receive: record.last_receive,
            by_definition: true,
        }
    }

    /// What the masker rejects.
    pub(super) fn of_masker(pipeline: &str, position: usize, rejected: RejectedRecord) -> Self {
        Self {
            position,
            key: Key::new(pipeline, &rejected.message_id, rejected.sent_timestamp_ms),
            sent_ms: rejected.sent_timestamp_ms,
            reason: rejected.reason(),
            message_id: rejected.message_id,
            detail: rejected.detail,
            last_receive: rejected.last_receive,
            by_definition: false,
        }
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Claim")
            .field("message_id", &self.message_id)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}
