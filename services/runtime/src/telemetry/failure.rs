//! What a span says of a failure: its status, and the class of the error as OpenTelemetry's `error.type`.

use tonic::{Code, Status};
use tracing::Span;

/// The class of errors of which no one class can be told, such as those of single entries of a batch.
pub const OTHER: &str = "_OTHER";

/// Notes that what the span covers failed. The class is one of few, and never text about the data at hand.
pub fn failed(span: &Span, error_type: &str) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", error_type);
}

/// Notes that a call was not answered but with `status`.
pub fn call_failed(span: &Span, status: &Status) {
    let code = name(status.code());
    span.record("rpc.response.status_code", code.as_str());
    failed(span, &code);
}

/// The name of a code as the protocol has it, such as `DEADLINE_EXCEEDED`.
fn name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_protocols_names() {
        for (code, expected) in [
            (Code::Unavailable, "UNAVAILABLE"),
            (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
            (Code::FailedPrecondition, "FAILED_PRECONDITION"),
        ] {
            assert_eq!(name(code), expected);
        }
    }
}
