//! What SQS allows.

use std::time::Duration;

/// The most messages that one receive brings, and the most entries in one batch call.
pub(crate) const MAX_ENTRIES: usize = 10;

/// The largest message, attributes included.
pub(crate) const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// The most attributes of one message.
pub(crate) const MAX_ATTRIBUTES: usize = 10;

/// The most that the messages of one batch send may add up to. AWS takes 1 MiB; every server that speaks SQS
/// takes this.
pub(crate) const MAX_SEND_BATCH_BYTES: usize = 256 * 1024;

/// The longest time that a receive waits for a first message.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(20);

/// The longest visibility timeout. A message is hidden no longer than this after its receive, however often
/// its timeout is extended.
pub(crate) const MAX_VISIBILITY: Duration = Duration::from_hours(12);
