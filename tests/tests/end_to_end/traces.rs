//! One trace leads from the receive through mask and write to the commit and the delete.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use veilpost_tests::{Collector, Received, Stack};

const PRODUCER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A running stack whose services export their spans.
async fn traced() -> (Stack, Collector) {
    let collector = Collector::start().unwrap();
    let mut stack = Stack::bare().await.unwrap();
    stack.variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), collector.endpoint()));
    stack.start_writer(&[]).await.unwrap();
    stack.start_masker(&[]).await.unwrap();
    (stack, collector)
}

struct Trace(Vec<Received>);

impl Trace {
    /// The only span of a name.
    fn only(&self, name: &str) -> &Received {
        let found: Vec<_> = self.0.iter().filter(|received| received.span.name == name).collect();
        assert_eq!(found.len(), 1, "{name} among {:?}", self.names());
        found.first().unwrap()
    }

    fn names(&self) -> Vec<&str> {
        self.0.iter().map(|received| received.span.name.as_str()).collect()
    }

    fn assert_child(&self, child: &str, parent: &str, service: &str, kind: SpanKind) {
        let (child_span, parent_span) = (self.only(child), self.only(parent));
        assert_eq!(child_span.span.parent_span_id, parent_span.span.span_id, "{child} under {parent}");
        assert_eq!(child_span.service, service, "{child}");
        assert_eq!(child_span.span.kind(), kind, "{child}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_the_receive_to_the_commit_and_the_delete() {
    let (mut stack, collector) = traced().await;
    stack.send_with(&veilpost_tests::login("traced"), &[("traceparent", PRODUCER)]).await.unwrap();
    stack.start_reader(&[]).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    stack.stop().await.unwrap();

    let trace = Trace(collector.received());
    let ids: BTreeSet<_> = trace.0.iter().map(|received| received.span.trace_id.clone()).collect();
    assert_eq!(ids.len(), 1, "{:?}", trace.names());
    assert!(trace.only("receive user-logins").span.parent_span_id.is_empty(), "the receive is the root");
    trace.assert_child("process user-logins", "receive user-logins", "veilpost-reader", SpanKind::Consumer);
    trace.assert_child("veilpost.v1.Masker/Mask", "process user-logins", "veilpost-masker", SpanKind::Server);
    trace.assert_child(
        "veilpost.v1.Writer/Write",
        "veilpost.v1.Masker/Mask",
        "veilpost-writer",
        SpanKind::Server,
    );
    trace.assert_child(
        "INSERT public.user_logins",
        "veilpost.v1.Writer/Write",
        "veilpost-writer",
        SpanKind::Client,
    );
    trace.assert_child("delete user-logins", "process user-logins", "veilpost-reader", SpanKind::Client);

    let process = trace.only("process user-logins");
    let links: Vec<_> =
        process.span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect();
    assert_eq!(links, [("0af7651916cd43dd8448eb211c80319c".to_owned(), "b7ad6b7169203331".to_owned())]);
    assert_eq!(process.attribute("messaging.system"), "aws_sqs");
    assert_eq!(process.attribute("messaging.batch.message_count"), "1");
    assert_eq!(trace.only("INSERT public.user_logins").attribute("db.system.name"), "postgresql");
    assert_eq!(trace.only("veilpost.v1.Writer/Write").attribute("rpc.system.name"), "grpc");
}

#[tokio::test(flavor = "multi_thread")]
async fn rejections_are_events_with_reason_and_message_id_and_no_span_holds_a_value() {
    let (mut stack, collector) = traced().await;
    let masked = stack.send(r#"{"user_id":{"x":"SECRET-nested"},"ip":["SECRET"]}"#).await.unwrap();
    let written = stack.send(&veilpost_tests::login(&"SECRET-too-long".repeat(20))).await.unwrap();
    stack.start_reader(&[]).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    stack.stop().await.unwrap();

    let spans = collector.received();
    let shown = format!("{spans:?}");
    for value in ["SECRET", "199.172.111.135", "593-47-5928"] {
        assert!(!shown.contains(value), "{value} is in a span");
    }
    let rejected_by = |service: &str, message_id: &str| {
        let events = spans
            .iter()
            .filter(|received| received.service == service)
            .flat_map(|received| &received.span.events);
        events.filter(|event| event.name == "rejected" && format!("{event:?}").contains(message_id)).count()
    };
    assert_eq!(rejected_by("veilpost-writer", &written), 1);
    assert!(rejected_by("veilpost-masker", &masked) + rejected_by("veilpost-writer", &masked) == 1);
    for message_id in [&masked, &written] {
        assert_eq!(rejected_by("veilpost-reader", message_id), 1);
    }
    let logs = stack.logs().unwrap();
    let rejection = logs
        .iter()
        .flat_map(|(_, text)| text.lines())
        .find(|line| line.contains("\"message\":\"rejected\""))
        .unwrap();
    assert!(rejection.contains("\"trace_id\":\""), "{rejection}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_down_stops_nothing() {
    let mut stack = Stack::bare().await.unwrap();
    stack.variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), "http://127.0.0.1:1".to_owned()));
    stack.start_writer(&[]).await.unwrap();
    stack.variables = vec![("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), "not a url".to_owned())];
    stack.start_masker(&[]).await.unwrap();
    stack.start_reader(&[]).await.unwrap();
    stack.send_logins("user-", 100).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    assert_eq!(stack.rows().await.unwrap(), 100);
    stack.stop().await.unwrap();
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
