//! The handle that SQS gives out with each receive of a message.

use std::fmt;

/// The right to delete, hide or show a message as this delivery. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ReceiptHandle(String);

impl ReceiptHandle {
    pub(crate) fn new(handle: String) -> Self {
        Self(handle)
    }

    /// A handle that no receive has given out.
    pub(crate) fn made_up() -> Self {
        Self("veilpost-asks-whether-this-call-is-permitted".to_owned())
    }

    /// The text that goes to SQS, and nowhere else.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// The same, without a copy.
    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

impl fmt::Debug for ReceiptHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ReceiptHandle(..)")
    }
}
