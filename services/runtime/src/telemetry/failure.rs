//! Records failures on spans: the status, and the class of the error as OpenTelemetry's `error.type`.

use tonic::{Code, Status};
use tracing::Span;

/// The class of errors that have no class of their own, such as several different ones in a batch.
///
/// <https://opentelemetry.io/docs/specs/semconv/registry/attributes/error/>
pub const OTHER: &str = "_OTHER";

/// Marks `span` as failed. `error_type` is one of a small number of classes, and never text about the data at
/// hand.
///
/// The span needs the fields `otel.status_code` and `error.type`.
pub fn failed(span: &Span, error_type: &str) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", error_type);
}

/// Marks `span` as a call that ended with `status`. The span also needs the field `rpc.response.status_code`.
pub fn call_failed(span: &Span, status: &Status) {
    let code = name(status.code());
    span.record("rpc.response.status_code", code.as_str());
    failed(span, &code);
}

/// The code's name in the gRPC protocol, such as `DEADLINE_EXCEEDED`.
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
