//! The spans of a reader, named after OpenTelemetry's conventions for messaging.
//!
//! They exist only while traces are exported; otherwise every function here returns a disabled span and costs
//! next to nothing.

use std::collections::HashSet;

use tracing::field::Empty;
use tracing::{Instrument, Span};
use veilpost_proto::v1::{RawRecord, TraceContext};
use veilpost_runtime::{numbers, telemetry};

/// The field of a receive's span that gets the number of messages received. A span where it is 0 is not
/// exported.
pub const MESSAGE_COUNT: &str = "messaging.batch.message_count";

/// Where messages come from or go to, as spans name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// OpenTelemetry's `messaging.system`, such as `kafka`.
    pub system: &'static str,
    /// OpenTelemetry's `messaging.destination.name`: the name of the queue or topic.
    pub name: String,
}

/// The span of one receive. It is the root of the trace of what the receive brings.
pub fn receive(destination: &Destination) -> Span {
    tracing::info_span!(
        "receive",
        otel.name = format!("receive {}", destination.name),
        otel.kind = "client",
        otel.status_code = Empty,
        error.type = Empty,
        messaging.system = destination.system,
        messaging.operation.name = "receive",
        messaging.operation.type = "receive",
        messaging.destination.name = destination.name,
        messaging.batch.message_count = Empty,
    )
}

/// The span of one batch, from when it is made until its last message is settled.
///
/// Its parent is the receive that brought its first message. The other receives are linked with it in both
/// directions; the producers of its messages are linked from it.
pub(crate) fn process<'a>(
    source: &Destination,
    receives: impl Iterator<Item = &'a Span>,
    records: &[RawRecord],
) -> Span {
    let mut receives = distinct(receives);
    let Some(first) = receives.next().filter(|first| !first.is_disabled()) else { return Span::none() };
    let span = tracing::info_span!(
        parent: first,
        "process",
        otel.name = format!("process {}", source.name),
        otel.kind = "consumer",
        messaging.system = source.system,
        messaging.operation.name = "process",
        messaging.operation.type = "process",
        messaging.destination.name = source.name,
        messaging.batch.message_count = numbers::to_i64(records.len()),
    );
    for receive in receives {
        telemetry::link(&span, receive);
    }
    for producer in producers(records) {
        telemetry::link_to(&span, producer);
    }
    span
}

/// The span of one call that settles messages of one or several batches. The batches' spans end no sooner
/// than this.
#[derive(Debug)]
pub struct SettleSpan {
    span: Span,
    batches: Vec<Span>,
}

impl SettleSpan {
    /// A span named `operation` (`send`, `delete`, …) for a call that settles `messages` messages. Its parent
    /// is the first of `batches`; the others are linked with it in both directions.
    pub fn new<'a>(
        operation: &'static str,
        destination: &Destination,
        messages: usize,
        batches: impl Iterator<Item = &'a Span>,
    ) -> Self {
        let batches: Vec<_> = distinct(batches).filter(|batch| !batch.is_disabled()).cloned().collect();
        let Some(first) = batches.first() else { return Self { span: Span::none(), batches } };
        let span = settle(operation, destination, messages, first);
        for batch in batches.iter().skip(1) {
            telemetry::link(&span, batch);
        }
        Self { span, batches }
    }

    /// Makes the call within the span and returns its result: the items that need another attempt. If there
    /// are any, the span says that the call failed. Dropping the future ends the span.
    pub async fn settle<T>(self, call: impl Future<Output = Vec<T>>) -> Vec<T> {
        let again = call.instrument(self.span.clone()).await;
        if !again.is_empty() {
            telemetry::failed(&self.span, telemetry::OTHER);
        }
        again
    }
}

impl Drop for SettleSpan {
    fn drop(&mut self) {
        self.batches.iter().for_each(telemetry::lasts_until_now);
    }
}

fn settle(operation: &'static str, destination: &Destination, messages: usize, batch: &Span) -> Span {
    let kind = if operation == "send" { "send" } else { "settle" };
    tracing::info_span!(
        parent: batch,
        "settle",
        otel.name = format!("{operation} {}", destination.name),
        otel.kind = "client",
        otel.status_code = Empty,
        error.type = Empty,
        messaging.system = destination.system,
        messaging.operation.name = operation,
        messaging.operation.type = kind,
        messaging.destination.name = destination.name,
        messaging.batch.message_count = numbers::to_i64(messages),
    )
}

/// Each producer's context once: a producer that sends in batches has the same one for several messages.
fn producers(records: &[RawRecord]) -> impl Iterator<Item = &TraceContext> {
    let mut known = HashSet::new();
    let contexts = records.iter().filter_map(|record| record.producer.as_ref());
    contexts.filter(move |context| known.insert(context.traceparent.as_str()))
}

/// Leaves out a span that is the same as the one before it.
fn distinct<'a>(spans: impl Iterator<Item = &'a Span>) -> impl Iterator<Item = &'a Span> {
    let mut last = None;
    spans.filter(move |span| {
        let id = span.id();
        let is_new = last != Some(id.clone());
        last = Some(id);
        is_new
    })
}
