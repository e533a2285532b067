//! The names of reasons, and the bytes of outcomes.

use crate::v1::{Outcome, Reason};

impl Outcome {
    /// The outcome as [`Receipt::outcomes`](crate::v1::Receipt) carries it.
    pub fn byte(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::Stored => 1,
            Self::Duplicate => 2,
            Self::Rejected => 3,
        }
    }
}

impl Reason {
    /// The reason's name in the dead-letter queue, in metrics, logs and spans.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::NoBody => "no-body",
            Self::NotJson => "not-json",
            Self::NotAnObject => "not-an-object",
            Self::NotAScalar => "not-a-scalar",
            Self::TextTooLong => "text-too-long",
            Self::NulInText => "nul-in-text",
            Self::OutOfRange => "out-of-range",
            Self::InvalidValue => "invalid-value",
            Self::Constraint => "constraint",
            Self::UnknownRecord => "unknown-record",
            Self::Undecided => "undecided",
            Self::NotDecodable => "not-decodable",
            Self::NotWrapped => "not-wrapped",
            Self::NotAnArray => "not-an-array",
            Self::TooManyRecords => "too-many-records",
            Self::TooLarge => "too-large",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_bytes_are_those_of_the_contract() {
        for number in 0..=16 {
            let reason = Reason::try_from(number).unwrap();
            let written = reason.as_str_name().trim_start_matches("REASON_").to_lowercase().replace('_', "-");
            assert_eq!(reason.name(), written);
        }
        assert!(Reason::try_from(17).is_err(), "a new reason needs a name here");
        for number in 0..=3 {
            assert_eq!(i32::from(Outcome::try_from(number).unwrap().byte()), number);
        }
    }
}
