//! The reader's spans, named after OpenTelemetry's conventions for messaging. They exist only while traces are exported.

use std::collections::HashSet;

use tracing::Span;
use tracing::field::Empty;
use veilpost_proto::v1::{RawRecord, TraceContext};
use veilpost_runtime::telemetry;

use crate::queue::Queue;

/// One receive; the root of the trace of what it brings.
pub(crate) fn receive(queue: &Queue) -> Span {
    tracing::info_span!(
        "receive",
        otel.name = format!("receive {}", queue.name()),
        otel.kind = "client",
        otel.status_code = Empty,
        error.type = Empty,
        messaging.system = "aws_sqs",
        messaging.operation.name = "receive",
        messaging.operation.type = "receive",
        messaging.destination.name = queue.name(),
        messaging.batch.message_count = Empty,
    )
}

/// One batch, from its making until its last message is settled. It belongs to the trace of the receive that brought its
/// first message; further receives are linked with it in both directions, the producers of its messages from it.
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
        telemetry::link(&span, receive);
    }
    for producer in producers(records) {
        telemetry::link_to(&span, producer);
    }
    span
}

/// One call that settles messages of one or several batches. It keeps the batches' spans going for as long as it lasts.
#[derive(Debug)]
pub(crate) struct Settling {
    pub(crate) span: Span,
    batches: Vec<Span>,
}

impl Settling {
    /// In the trace of the first batch, linked with the others in both directions.
    pub(crate) fn of<'a>(
        operation: &'static str,
        queue: &Queue,
        messages: usize,
        batches: impl Iterator<Item = &'a Span>,
    ) -> Self {
        let batches: Vec<_> = distinct(batches).filter(|batch| !batch.is_disabled()).cloned().collect();
        let Some(first) = batches.first() else { return Self { span: Span::none(), batches } };
        let span = settle(operation, queue, messages, first);
        for batch in batches.iter().skip(1) {
            telemetry::link(&span, batch);
        }
        Self { span, batches }
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        self.batches.iter().for_each(telemetry::lasts_until_now);
    }
}

fn settle(operation: &'static str, queue: &Queue, messages: usize, batch: &Span) -> Span {
    let kind = if operation == "send" { "send" } else { "settle" };
    tracing::info_span!(
        parent: batch,
        "settle",
        otel.name = format!("{operation} {}", queue.name()),
        otel.kind = "client",
        otel.status_code = Empty,
        error.type = Empty,
        messaging.system = "aws_sqs",
        messaging.operation.name = operation,
        messaging.operation.type = kind,
        messaging.destination.name = queue.name(),
        messaging.batch.message_count = count(messages),
    )
}

/// Each producer's context once: those who send in batches have one for several messages.
fn producers(records: &[RawRecord]) -> impl Iterator<Item = &TraceContext> {
    let mut known = HashSet::new();
    let contexts = records.iter().filter_map(|record| record.producer.as_ref());
    contexts.filter(move |context| known.insert(context.traceparent.as_str()))
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
