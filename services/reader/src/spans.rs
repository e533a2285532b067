//! The reader's spans, named after OpenTelemetry's conventions for messaging. They exist only while traces are exported.

use tracing::Span;
use tracing::field::Empty;
use veilpost_proto::v1::RawRecord;
use veilpost_runtime::telemetry;

use crate::queue::Queue;

/// One receive; the root of the trace of what it brings.
pub(crate) fn receive(queue: &Queue) -> Span {
    tracing::info_span!(
        "receive",
        otel.name = format!("receive {}", queue.name()),
        otel.kind = "client",
        otel.status_code = Empty,
        messaging.system = "aws_sqs",
        messaging.operation.name = "receive",
        messaging.operation.type = "receive",
        messaging.destination.name = queue.name(),
        messaging.batch.message_count = Empty,
    )
}

/// One batch, from its making until its last message is settled. It belongs to the trace of the receive that brought its
/// first message; further receives and the producers of its messages are linked.
pub(crate) fn process<'a>(
    queue: &str,
    receives: impl Iterator<Item = &'a Span>,
    records: &[RawRecord],
) -> Span {
    let mut receives = distinct(receives);
    let Some(first) = receives.next().filter(|first| !first.is_disabled()) else { return Span::none() };
    let span = tracing::info_span!(
        parent: first,
        "process",
        otel.name = format!("process {queue}"),
        otel.kind = "consumer",
        messaging.system = "aws_sqs",
        messaging.operation.name = "process",
        messaging.operation.type = "process",
        messaging.destination.name = queue,
        messaging.batch.message_count = count(records.len()),
    );
    for receive in receives {
        span.follows_from(receive);
    }
    for producer in records.iter().filter_map(|record| record.producer.as_ref()) {
        telemetry::link_to(&span, producer);
    }
    span
}

/// One call that settles messages of one or several batches: in the trace of the first, linked to the others.
pub(crate) fn settle<'a>(
    operation: &'static str,
    queue: &Queue,
    messages: usize,
    batches: impl Iterator<Item = &'a Span>,
) -> Span {
    let mut batches = distinct(batches);
    let Some(first) = batches.next().filter(|first| !first.is_disabled()) else { return Span::none() };
    let kind = if operation == "send" { "send" } else { "settle" };
    let span = tracing::info_span!(
        parent: first,
        "settle",
        otel.name = format!("{operation} {}", queue.name()),
        otel.kind = "client",
        otel.status_code = Empty,
        messaging.system = "aws_sqs",
        messaging.operation.name = operation,
        messaging.operation.type = kind,
        messaging.destination.name = queue.name(),
        messaging.batch.message_count = count(messages),
    );
    for batch in batches {
        span.follows_from(batch);
    }
    span
}

/// Neighbours that are the same span count once.
fn distinct<'a>(spans: impl Iterator<Item = &'a Span>) -> impl Iterator<Item = &'a Span> {
    let mut last = None;
    spans.filter(move |span| {
        let id = span.id();
        let is_new = last != Some(id.clone());
        last = Some(id);
        is_new
    })
}

pub(crate) fn count(messages: usize) -> i64 {
    i64::try_from(messages).unwrap_or(i64::MAX)
}
