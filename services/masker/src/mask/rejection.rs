//! Why a record can never be stored as it is.

use std::fmt;

use veilpost_proto::v1::Reason;

use crate::fault::Fault;

/// A record that can never be stored as it is. The detail names column and rule, never a value.
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

impl Rejected {
    /// The body as a whole is at fault.
    pub(super) fn whole(reason: Reason) -> Self {
        let detail = match reason {
            Reason::NoBody => "the message has no body",
            Reason::NotAnObject => "the body is JSON, but not an object",
            Reason::UnknownRecord => "the body has none of the policy's fields",
            _ => "the body is not JSON",
        };
        Self { reason, detail: detail.to_owned() }
    }

    /// The field that fills `column` is at fault.
    pub(super) fn column(fault: Fault, column: &str, transform: &str) -> Self {
        if fault.reason == Reason::NotJson {
            return Self::whole(fault.reason);
        }
        let by = fault.step.unwrap_or(transform);
        Self { reason: fault.reason, detail: format!("column {column}, {by}: {}", fault.rule) }
    }
}
