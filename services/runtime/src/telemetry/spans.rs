//! What spans of several services have to do with each other: parents carried in batches, links, rejected
//! records.

use std::collections::HashMap;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use veilpost_proto::v1::TraceContext;

/// The context of `span` as a batch carries it; `None` when the span belongs to no trace.
pub fn context_of(span: &Span) -> Option<TraceContext> {
    let context = span.context();
    if !context.span().span_context().is_valid() {
        return None;
    }
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&context, &mut carrier);
    let mut take = |header: &str| carrier.remove(header).unwrap_or_default();
    Some(TraceContext { traceparent: take("traceparent"), tracestate: take("tracestate") })
}

/// Makes `span` a child of the span that sent the batch. Call it before the span is entered: later it has no
/// effect.
pub fn parent(span: &Span, sender: Option<&TraceContext>) {
    if let Some(sender) = sender {
        // Without an exporter there is nothing to be a child of.
        let _off = span.set_parent(extract(sender));
    }
}

/// Extends `span` until now. A span ends when it is left for the last time and not when it is dropped, and
/// work that is done elsewhere on its behalf never enters it.
pub fn lasts_until_now(span: &Span) {
    span.in_scope(|| ());
}

/// Links two spans of this process to each other, so that each leads to the other's trace.
pub fn link(span: &Span, other: &Span) {
    span.follows_from(other);
    other.follows_from(span);
}

/// Links `span` to a span of another process, such as the producer's. A malformed context is ignored.
pub fn link_to(span: &Span, other: &TraceContext) {
    let other: SpanContext = extract(other).span().span_context().clone();
    if other.is_valid() {
        span.add_link(other);
    }
}

/// Adds to `span` the event that a record was rejected and why. There is no place for a value.
pub fn note_rejection(span: &Span, message_id: &str, reason: &'static str) {
    if !span.is_disabled() {
        let attributes = vec![
            KeyValue::new("messaging.message.id", message_id.to_owned()),
            KeyValue::new("veilpost.reason", reason),
        ];
        span.add_event("rejected", attributes);
    }
}

fn extract(context: &TraceContext) -> Context {
    let carrier = HashMap::from([
        ("traceparent".to_owned(), context.traceparent.clone()),
        ("tracestate".to_owned(), context.tracestate.clone()),
    ]);
    TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier)
}
