//! The export of traces over OTLP/gRPC, when the environment names a collector.

use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::trace::TracerProvider;
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_otlp::{SpanExporter, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracerProvider, SpanData, SpanProcessor};
use tonic::transport::{Certificate, ClientTlsConfig};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

/// How long the export of the last spans may take at the end of the process.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// The trusted certificates on Debian, its relatives and Veilpost's images.
const SYSTEM_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The links, and the events, that a span may have. A batch links to the producer of every message, and every
/// message may be rejected; the SDK by default drops what goes beyond 128.
const MAX_PER_SPAN: u32 = 4096;

/// The export of finished spans; off unless the environment names a collector.
#[derive(Debug)]
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Reads OpenTelemetry's own variables: an endpoint turns the export on, and the SDK reads sampler,
    /// headers, batching and resource attributes. When the exporter cannot be built, traces are off and the
    /// second value says why.
    ///
    /// <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>
    pub(super) fn from_environment(service: &'static str) -> (Self, Option<String>) {
        if !wanted(|name| std::env::var(name).ok()) {
            return (Self(None), None);
        }
        match exporter() {
            Ok(exporter) => {
                let processor = BatchSpanProcessor::builder(exporter).build();
                (Self(Some(provider(service, processor))), None)
            }
            Err(error) => (Self(None), Some(format!("{error:#}"))),
        }
    }

    /// Turns Veilpost's own spans into OpenTelemetry's, and its log lines within them into events. Those of
    /// libraries are left out, and so is the log line about a rejected record, for which
    /// [`note_rejection`](super::note_rejection) adds an event.
    pub(super) fn layer<S>(&self) -> Option<Box<dyn Layer<S> + Send + Sync>>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let tracer = self.0.as_ref()?.tracer("veilpost");
        let layer = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false)
            .with_tracked_inactivity(false);
        Some(
            layer
                .with_filter(filter_fn(|metadata: &Metadata<'_>| {
                    metadata.target().starts_with("veilpost") && !metadata.target().ends_with("::rejected")
                }))
                .boxed(),
        )
    }

    /// Exports the buffered spans. A collector that does not answer costs at most two seconds.
    pub async fn flush(self) {
        let Some(provider) = self.0 else { return };
        // The provider's own shutdown blocks, so it must not run on a worker of the runtime.
        let flushed =
            tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_TIMEOUT)).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!(error = %error, "the last spans were not exported");
        }
    }
}

fn wanted(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name| variable(name).is_some_and(|value| !value.trim().is_empty());
    let is = |name, expected: &str| {
        variable(name).is_some_and(|value| value.trim().eq_ignore_ascii_case(expected))
    };
    let endpoint = set("OTEL_EXPORTER_OTLP_ENDPOINT") || set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    endpoint && !is("OTEL_SDK_DISABLED", "true") && !is("OTEL_TRACES_EXPORTER", "none")
}

/// The exporter. An `https` endpoint is verified with the certificates in `OTEL_EXPORTER_OTLP_CERTIFICATE` or
/// in the system's bundle, which the exporter by itself does not read.
fn exporter() -> anyhow::Result<SpanExporter> {
    let builder = SpanExporter::builder().with_tonic();
    let endpoint = set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| set("OTEL_EXPORTER_OTLP_ENDPOINT"));
    if !endpoint.is_some_and(|endpoint| endpoint.trim().starts_with("https://")) {
        return Ok(builder.build()?);
    }
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(trusted()?));
    Ok(builder.with_tls_config(tls).build()?)
}

/// The certificates that a collector is verified with, as PEM.
fn trusted() -> anyhow::Result<Vec<u8>> {
    let variable = "OTEL_EXPORTER_OTLP_CERTIFICATE";
    let path = set(variable).or_else(|| set("SSL_CERT_FILE")).unwrap_or_else(|| SYSTEM_BUNDLE.to_owned());
    std::fs::read(&path)
        .with_context(|| format!("the collector's certificate cannot be checked ({variable}): {path}"))
}

/// A variable, if it has a value.
fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

fn provider(service: &'static str, processor: impl SpanProcessor + 'static) -> SdkTracerProvider {
    let mut resource = Resource::builder();
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name(format!("veilpost-{service}"));
    }
    let resource =
        resource.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))).build();
    let processor = SkipEmptyReceives(processor);
    let mut provider = SdkTracerProvider::builder().with_span_processor(processor).with_resource(resource);
    if std::env::var_os("OTEL_SPAN_LINK_COUNT_LIMIT").is_none() {
        provider = provider.with_max_links_per_span(MAX_PER_SPAN);
    }
    if std::env::var_os("OTEL_SPAN_EVENT_COUNT_LIMIT").is_none() {
        provider = provider.with_max_events_per_span(MAX_PER_SPAN);
    }
    provider.build()
}

/// Drops the spans of receives that brought no message, so that an idle reader makes no traces.
#[derive(Debug)]
struct SkipEmptyReceives<P>(P);

impl<P: SpanProcessor> SpanProcessor for SkipEmptyReceives<P> {
    fn on_start(&self, span: &mut opentelemetry_sdk::trace::Span, context: &Context) {
        self.0.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        let brought_nothing = |attribute: &KeyValue| {
            attribute.key.as_str() == "messaging.batch.message_count" && attribute.value == Value::I64(0)
        };
        if !span.attributes.iter().any(brought_nothing) {
            self.0.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{context_of, link_to, note_rejection, parent};
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SpanData, SpanExporter};
    use parking_lot::Mutex;
    use std::sync::Arc;
    use tracing_subscriber::layer::SubscriberExt;
    use veilpost_proto::v1::TraceContext;

    /// Keeps what is exported. The SDK has one too, behind a feature with which tests would compile it again.
    #[derive(Clone, Debug, Default)]
    struct KeepingExporter(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for KeepingExporter {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().extend(batch);
            Ok(())
        }
    }

    const PRODUCER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn sent(traceparent: &str) -> TraceContext {
        TraceContext { traceparent: traceparent.to_owned(), tracestate: String::new() }
    }

    fn wanted_with(variables: &[(&str, &str)]) -> bool {
        wanted(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn only_an_endpoint_turns_traces_on_and_the_standard_switches_turn_them_off() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317");
        assert!(!wanted_with(&[]));
        assert!(!wanted_with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]));
        assert!(wanted_with(&[endpoint]));
        assert!(!wanted_with(&[endpoint, ("OTEL_SDK_DISABLED", "true")]));
        assert!(!wanted_with(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]));
    }

    #[test]
    fn a_batch_carries_the_trace_on_and_links_lead_to_the_producer() {
        let exporter = KeepingExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        let traces = Traces(Some(provider));
        let subscriber = tracing_subscriber::registry().with(traces.layer());
        tracing::subscriber::with_default(subscriber, || {
            let receive = tracing::info_span!(target: "veilpost", "receive");
            let carried = context_of(&receive).unwrap();
            let mask = tracing::info_span!(target: "veilpost", "mask");
            parent(&mask, Some(&carried));
            link_to(&mask, &sent(PRODUCER));
            link_to(&mask, &sent("nonsense"));
        });
        let spans = exporter.0.lock();
        let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
        let (receive, mask) = (named("receive"), named("mask"));
        assert_eq!(mask.span_context.trace_id(), receive.span_context.trace_id());
        assert_eq!(mask.parent_span_id, receive.span_context.span_id());
        assert_eq!(mask.links.len(), 1);
    }

    #[test]
    fn a_large_batch_keeps_every_link_and_every_rejection() {
        let exporter = KeepingExporter::default();
        let processor = opentelemetry_sdk::trace::SimpleSpanProcessor::new(exporter.clone());
        let traces = Traces(Some(provider("test", processor)));
        let subscriber = tracing_subscriber::registry().with(traces.layer());
        tracing::subscriber::with_default(subscriber, || {
            let process = tracing::info_span!(target: "veilpost", "process");
            for number in 1..=1000 {
                link_to(&process, &sent(&format!("00-{number:032x}-{number:016x}-01")));
                note_rejection(&process, "m", "not-json");
            }
        });
        let spans = exporter.0.lock();
        assert_eq!((spans[0].links.len(), spans[0].events.len()), (1000, 1000));
    }

    #[test]
    fn an_idle_receive_makes_no_trace() {
        let exporter = KeepingExporter::default();
        let processor = opentelemetry_sdk::trace::SimpleSpanProcessor::new(exporter.clone());
        let traces = Traces(Some(provider("test", processor)));
        let subscriber = tracing_subscriber::registry().with(traces.layer());
        tracing::subscriber::with_default(subscriber, || {
            for messages in [0_i64, 3] {
                drop(
                    tracing::info_span!(target: "veilpost", "receive", messaging.batch.message_count = messages),
                );
            }
        });
        assert_eq!(exporter.0.lock().len(), 1);
    }

    #[test]
    fn without_an_exporter_there_is_nothing_to_carry() {
        assert_eq!(context_of(&tracing::info_span!("alone")), None);
    }
}
