//! Why a record can never be stored as it is.

use std::fmt;

use veilpost_proto::v1::Reason;

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
    pub(super) fn column(reason: Reason, column: &str, transform: &str) -> Self {
        let what = match reason {
            Reason::NotAScalar => "an object or array where a scalar is needed",
            Reason::NulInText => "U+0000 in text",
            _ => return Self::whole(reason),
        };
        Self { reason, detail: format!("column {column}, {transform}: {what}") }
    }
}
