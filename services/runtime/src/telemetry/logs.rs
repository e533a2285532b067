//! Log lines on stderr, as JSON or for people, with the ids of the trace that they belong to.

use std::fmt;
use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use opentelemetry::trace::{SpanContext, TraceContextExt};
use tracing::{Event, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer as _;
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, Layer, layer};
use tracing_subscriber::registry::LookupSpan;

use crate::LogFormat;

pub(super) fn lines<S>(log_format: LogFormat) -> Box<dyn tracing_subscriber::Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let terminal = std::io::stderr().is_terminal();
    let json = match log_format {
        LogFormat::Json => true,
        LogFormat::Pretty => false,
        LogFormat::Auto => !terminal,
    };
    let lines: Layer<S> = layer();
    let lines = lines.with_writer(std::io::stderr);
    if json {
        let inner =
            Format::default().json().flatten_event(true).with_current_span(false).with_span_list(false);
        let fields = tracing_subscriber::fmt::format::JsonFields::new();
        lines.fmt_fields(fields).event_format(WithTrace { inner, ids: json_ids }).boxed()
    } else {
        let inner = Format::default().with_ansi(terminal);
        lines.with_ansi(terminal).event_format(WithTrace { inner, ids: readable_ids }).boxed()
    }
}

/// Logs where a panic happened but not its message, which may quote the data at hand.
pub(super) fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(location, "panicked");
}

/// Formats an event as `inner` does and adds the ids of the current span, if it is part of a trace.
struct WithTrace<F> {
    inner: F,
    ids: fn(&str, &SpanContext) -> String,
}

impl<S, N, F> FormatEvent<S, N> for WithTrace<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let context = tracing::Span::current().context();
        let span = context.span();
        if !span.span_context().is_valid() {
            return self.inner.format_event(ctx, writer, event);
        }
        let mut line = String::new();
        self.inner.format_event(ctx, Writer::new(&mut line), event)?;
        writer.write_str(&(self.ids)(&line, span.span_context()))
    }
}

fn json_ids(line: &str, span: &SpanContext) -> String {
    let object = line.trim_end();
    let open = object.strip_suffix('}').unwrap_or(object);
    format!("{open},\"trace_id\":\"{}\",\"span_id\":\"{}\"}}\n", span.trace_id(), span.span_id())
}

fn readable_ids(line: &str, span: &SpanContext) -> String {
    format!("{} trace_id={} span_id={}\n", line.trim_end(), span.trace_id(), span.span_id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::{SpanId, TraceFlags, TraceId, TraceState};

    fn span() -> SpanContext {
        let (trace, span) = (TraceId::from(0xab), SpanId::from(0xcd));
        SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::default())
    }

    #[test]
    fn a_json_line_stays_one_object_on_one_line() {
        let line = json_ids("{\"message\":\"}\"}\n", &span());
        assert_eq!(
            line,
            "{\"message\":\"}\",\"trace_id\":\"000000000000000000000000000000ab\",\"span_id\":\"00000000000000cd\"}\n"
        );
    }
}
