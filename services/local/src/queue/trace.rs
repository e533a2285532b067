//! The producer's part of a trace: each message carries the trace context of the call that sent it.

use aws_sdk_sqs::error::BuildError;
use aws_sdk_sqs::types::MessageAttributeValue;
use rand::RngExt;
use tracing::Span;
use veilpost_runtime::telemetry;

/// The message attribute that holds the context: <https://www.w3.org/TR/trace-context/#traceparent-header>.
pub(super) const ATTRIBUTE: &str = "traceparent";

/// The span of one call that sends a batch. It is disabled unless traces are exported.
pub(super) fn send(queue_url: &str, messages: usize) -> Span {
    let queue = queue_url.rsplit('/').next().unwrap_or(queue_url);
    tracing::info_span!(
        "send",
        otel.name = format!("send {queue}"),
        otel.kind = "producer",
        messaging.system = "aws_sqs",
        messaging.operation.name = "send",
        messaging.operation.type = "send",
        messaging.destination.name = queue,
        messaging.batch.message_count = i64::try_from(messages).unwrap_or(i64::MAX),
    )
}

/// The context of `span` for a message. Without an export it is a random context that is marked as not
/// sampled.
pub(super) fn attribute(span: &Span) -> Result<MessageAttributeValue, BuildError> {
    let traceparent = telemetry::context_of(span).map_or_else(unrecorded, |context| context.traceparent);
    MessageAttributeValue::builder().data_type("String").string_value(traceparent).build()
}

fn unrecorded() -> String {
    let mut random = rand::rng();
    // The standard forbids ids of zeros.
    let (trace, span) = (random.random_range(1..=u128::MAX), random.random_range(1..=u64::MAX));
    format!("00-{trace:032x}-{span:016x}-00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unrecorded_context_is_valid_and_not_sampled() {
        let traceparent = unrecorded();
        let parts: Vec<_> = traceparent.split('-').collect();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [2, 32, 16, 2]);
        assert_eq!((parts[0], parts[3]), ("00", "00"));
    }
}
