//! Why a value cannot be stored: the rule that it breaks, never the value.

use veilpost_proto::v1::Reason;

/// A rule that a value breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) reason: Reason,
    /// The rule in words, without the value.
    pub(crate) rule: &'static str,
    /// The step of `normalize` that says so; `None` for the transform itself.
    pub(crate) step: Option<&'static str>,
}

impl Fault {
    /// The value is not what the rule asks for.
    pub(crate) const fn invalid(rule: &'static str) -> Self {
        Self { reason: Reason::InvalidValue, rule, step: None }
    }

    /// The value has the right form and is too large, too small or too fine.
    pub(crate) const fn out_of_range(rule: &'static str) -> Self {
        Self { reason: Reason::OutOfRange, rule, step: None }
    }

    /// The same fault, found by a step of `normalize`.
    pub(crate) fn in_step(self, name: &'static str) -> Self {
        Self { step: Some(name), ..self }
    }
}

impl From<Reason> for Fault {
    fn from(reason: Reason) -> Self {
        let rule = match reason {
            Reason::NotAScalar => "an object or array where a scalar is needed",
            Reason::NulInText => "U+0000 in text",
            _ => "not a value that can be stored",
        };
        Self { reason, rule, step: None }
    }
}
