//! Why a message can never be stored as it is.

use std::fmt;

use veilpost_proto::v1::Reason;

use crate::body::BodyFlaw;
use crate::fault::Fault;

/// A message that can never be stored as it is. The detail names column and rule, never a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    pub reason: Reason,
    pub detail: String,
}

impl fmt::Display for Rejected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.detail)
    }
}

impl std::error::Error for Rejected {}

impl From<BodyFlaw> for Rejected {
    fn from(flaw: BodyFlaw) -> Self {
        Self { reason: flaw.reason(), detail: flaw.to_string() }
    }
}

impl Rejected {
    pub(super) fn no_body() -> Self {
        Self { reason: Reason::NoBody, detail: "the message has no body".to_owned() }
    }

    pub(super) fn unknown() -> Self {
        let detail = "the record has none of the policy's fields".to_owned();
        Self { reason: Reason::UnknownRecord, detail }
    }

    /// The field that fills `column` is at fault.
    pub(super) fn column(fault: Fault, column: &str, transform: &str) -> Self {
        if fault.reason == Reason::NotJson {
            return BodyFlaw::NotJson.into();
        }
        let by = fault.step.unwrap_or(transform);
        Self { reason: fault.reason, detail: format!("column {column}, {by}: {}", fault.rule) }
    }

    /// The same, with which of the message's records it is.
    pub(super) fn in_element(self, index: usize) -> Self {
        Self { detail: format!("element {index}, {}", self.detail), ..self }
    }

    /// The same, with what the body looks like.
    pub(super) fn explained(self, guess: &str) -> Self {
        Self { detail: format!("{}; {guess}", self.detail), ..self }
    }
}
