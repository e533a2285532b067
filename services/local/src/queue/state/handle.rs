//! Receipt handles: each names one receive of one message of one queue.

use std::fmt;

use super::Millis;

/// A message in its queue. Keys sort by the time when the messages were sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::queue) struct MessageKey {
    pub(super) sent: Millis,
    /// Unique within the queue.
    pub(super) number: u64,
}

/// Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::queue) struct ReceiptHandle {
    /// A random number that each queue draws for itself.
    pub(super) queue: u64,
    pub(super) key: MessageKey,
    /// Which receive of the message, counted from 1.
    pub(super) receive: u32,
}

impl ReceiptHandle {
    /// None for what no queue has given out.
    pub(in crate::queue) fn parse(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let part = |index: usize| u64::from_str_radix(text.get(index * 16..(index + 1) * 16)?, 16).ok();
        let key = MessageKey { sent: part(1)?, number: part(2)? };
        Some(Self { queue: part(0)?, key, receive: u32::try_from(part(3)?).ok()? })
    }
}

impl fmt::Display for ReceiptHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MessageKey { sent, number } = self.key;
        write!(formatter, "{:016x}{sent:016x}{number:016x}{:016x}", self.queue, self.receive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_read_as_it_was_written_and_nothing_else_is_one() {
        let key = MessageKey { sent: 1_764_000_000_000, number: 7 };
        let handle = ReceiptHandle { queue: u64::MAX, key, receive: 3 };
        assert!(ReceiptHandle::parse(&handle.to_string()) == Some(handle));
        let text = handle.to_string();
        for garbage in ["", "garbage", text.get(1..).unwrap(), &text.to_uppercase(), &text.replace('0', "+")]
        {
            assert!(ReceiptHandle::parse(garbage).is_none(), "{garbage}");
        }
    }
}
