//! One trace leads from the receive through mask and write to the commit and the delete.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{MessageSystemAttributeNameForSends, MessageSystemAttributeValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use veilpost_local::certificates::Role;
use veilpost_local::queue::EmbeddedQueue;
use veilpost_testkit::{
    Pki, ReceivedSpan, SqsFault, SqsFaultProxy, Stack, TraceCollector, eventually, login,
};

const PRODUCER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A running stack whose services export their spans.
async fn traced() -> (Stack, TraceCollector) {
    let collector = TraceCollector::start().unwrap();
    let mut stack = Stack::bare().await.unwrap();
    stack.variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), collector.endpoint()));
    stack.start_writer(&[]).await.unwrap();
    stack.start_masker(&[]).await.unwrap();
    (stack, collector)
}

struct Trace(Vec<ReceivedSpan>);

impl Trace {
    /// The only span of a name.
    fn only(&self, name: &str) -> &ReceivedSpan {
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

    /// But for the receive, after which its batch is made, a span lasts for as long as what is under it.
    fn assert_children_end_first(&self) {
        for ReceivedSpan { span: child, .. } in &self.0 {
            let is_above = |parent: &&ReceivedSpan| parent.span.span_id == child.parent_span_id;
            let Some(parent) = self.0.iter().find(is_above) else { continue };
            let is_batch = child.name.starts_with("process");
            assert!(is_batch || child.end_time_unix_nano <= parent.span.end_time_unix_nano, "{}", child.name);
            assert!(child.start_time_unix_nano >= parent.span.start_time_unix_nano, "{}", child.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_the_receive_to_the_commit_and_the_delete() {
    let (mut stack, collector) = traced().await;
    stack.send_with(&login("traced"), &[("traceparent", PRODUCER)]).await.unwrap();
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

    trace.assert_children_end_first();

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
    let written = stack.send(&login(&"SECRET-too-long".repeat(20))).await.unwrap();
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
        let tells = |event: &str| event.contains("veilpost.reason") && event.contains(message_id);
        events.filter(|event| event.name == "rejected" && tells(&format!("{event:?}"))).count()
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
    let rejection: serde_json::Value = serde_json::from_str(rejection).unwrap();
    let named = |received: &&ReceivedSpan| hex(&received.span.span_id) == rejection["span_id"];
    let span = spans.iter().find(named).unwrap();
    assert_eq!(span.span.name, "process user-logins");
    assert_eq!(hex(&span.span.trace_id), rejection["trace_id"]);
}

/// Sends the producer's context as AWS X-Ray has it.
async fn send_with_trace_header(stack: &Stack, header: &str) {
    let value =
        MessageSystemAttributeValue::builder().data_type("String").string_value(header).build().unwrap();
    let send = stack.sqs.send_message().queue_url(&stack.pair.url).message_body(login("x-ray"));
    let send = send.message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, value);
    send.send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_sent_within_the_trace_and_x_ray_producers_are_linked() {
    let (mut stack, collector) = traced().await;
    let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    send_with_trace_header(&stack, header).await;
    let rejected = stack.send("no json").await.unwrap();
    stack.start_reader(&[]).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    stack.stop().await.unwrap();

    let spans = collector.received();
    let named = |name: &str| spans.iter().filter(move |one| one.span.name == name).collect::<Vec<_>>();
    let letter = *named("send user-logins-dead-letter").first().unwrap();
    assert_eq!(letter.span.kind(), SpanKind::Client);
    let batches = named("process user-logins");
    let batch = batches.iter().find(|batch| batch.span.span_id == letter.span.parent_span_id).unwrap();
    assert!(format!("{:?}", batch.span.events).contains(&rejected));
    let linked = batches.iter().flat_map(|batch| &batch.span.links);
    let linked: Vec<_> = linked.map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect();
    assert_eq!(linked, [("5759e988bd862e3fe1be46a994272793".to_owned(), "53995c3f42cd8ad8".to_owned())]);
}

/// Whether some span called `one` and some called `other` link to each other.
fn are_linked(spans: &[ReceivedSpan], one: &str, other: &str) -> bool {
    let links_to = |from: &ReceivedSpan, to: &ReceivedSpan| {
        from.span
            .links
            .iter()
            .any(|link| (&link.trace_id, &link.span_id) == (&to.span.trace_id, &to.span.span_id))
    };
    let named = |name| spans.iter().filter(move |received| received.span.name == name);
    named(one).any(|one| named(other).any(|other| links_to(one, other) && links_to(other, one)))
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_batches_share_are_linked_with_each_of_them() {
    let collector = TraceCollector::start().unwrap();
    let mut stack = Stack::bare().await.unwrap();
    stack.variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), collector.endpoint()));
    stack.start_writer(&[("--connections", "1")]).await.unwrap();
    stack.start_masker(&[]).await.unwrap();
    stack.send_logins("user-", 100).await.unwrap();
    // While nothing can be stored, deliveries gather into batches in the reader and batches into a commit in
    // the writer.
    let mut database = stack.database().await.unwrap();
    sqlx::query("BEGIN").execute(&mut database).await.unwrap();
    sqlx::query("LOCK TABLE user_logins IN ACCESS EXCLUSIVE MODE").execute(&mut database).await.unwrap();
    stack.start_reader(&[("--batch-records", "15"), ("--deletes-max", "1")]).await.unwrap();
    let all_hidden = async || match stack.depth(&stack.pair.url).await {
        Ok((0, 100)) => Ok(()),
        other => Err(format!("(waiting, hidden) is {other:?}")),
    };
    eventually("all messages in flight", all_hidden).await.unwrap();
    sqlx::query("COMMIT").execute(&mut database).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    stack.stop().await.unwrap();

    let spans = collector.received();
    for (shared, batch) in [
        ("receive user-logins", "process user-logins"),
        ("INSERT public.user_logins", "veilpost.v1.Writer/Write"),
        ("delete user-logins", "process user-logins"),
    ] {
        assert!(are_linked(&spans, shared, batch), "{shared} and {batch}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_calls_and_statements_say_of_what_kind_the_error_was() {
    let (mut stack, collector) = traced().await;
    let mut database = stack.database().await.unwrap();
    let check = "ALTER TABLE user_logins ADD CHECK (user_id <> 'poison')";
    sqlx::query(check).execute(&mut database).await.unwrap();
    let proxy = SqsFaultProxy::before(stack.queue.address()).await.unwrap();
    stack.start_reader_at(&proxy.endpoint(), &[]).await.unwrap();
    proxy.arm("ReceiveMessage", SqsFault::Throttled, 1);
    proxy.arm("DeleteMessageBatch", SqsFault::InternalError, 2);
    stack.send(&login("poison")).await.unwrap();
    stack.send(&login("fine")).await.unwrap();
    stack.rows_are(1).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    stack.stop().await.unwrap();

    let spans = collector.received();
    let failed = |span: &&ReceivedSpan| {
        span.span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
    };
    let failed: Vec<_> = spans.iter().filter(failed).collect();
    let kinds = |name: &str| -> BTreeSet<String> {
        let named = failed.iter().filter(|received| received.span.name == name);
        named.map(|received| received.attribute("error.type")).collect()
    };
    assert_eq!(kinds("receive user-logins"), BTreeSet::from(["RequestThrottled".to_owned()]));
    assert_eq!(kinds("delete user-logins"), BTreeSet::from(["_OTHER".to_owned()]));
    assert_eq!(kinds("INSERT public.user_logins"), BTreeSet::from(["23514".to_owned()]));
    let succeeded =
        spans.iter().filter(|one| !failed.iter().any(|other| other.span.span_id == one.span.span_id));
    assert!(succeeded.into_iter().all(|span| span.attribute("error.type").is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_its_root_does_not_sample_is_exported_by_nobody() {
    let collector = TraceCollector::start().unwrap();
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), collector.endpoint());
    let mut stack = Stack::bare().await.unwrap();
    stack.variables = vec![endpoint.clone()];
    stack.start_writer(&[]).await.unwrap();
    stack.start_masker(&[]).await.unwrap();
    stack.variables = with(
        &endpoint,
        [("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0")],
    );
    stack.start_reader(&[]).await.unwrap();
    stack.send_logins("user-", 20).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    stack.stop().await.unwrap();
    let spans = collector.received();
    assert!(spans.is_empty(), "{:?}", Trace(spans).names());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_names_the_service_and_its_resource() {
    let collector = TraceCollector::start().unwrap();
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), collector.endpoint());
    let mut stack = Stack::bare().await.unwrap();
    stack.start_writer(&[]).await.unwrap();
    stack.start_masker(&[]).await.unwrap();
    let named = [
        ("OTEL_SERVICE_NAME", "my-reader"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=trial"),
    ];
    stack.variables = with(&endpoint, named);
    stack.start_reader(&[]).await.unwrap();
    stack.send_logins("user-", 20).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    stack.stop().await.unwrap();
    let spans = collector.received();
    assert!(!spans.is_empty());
    for received in &spans {
        assert_eq!(received.service, "my-reader");
        assert_eq!(received.resource("deployment.environment.name"), "trial");
        assert_eq!(received.resource("service.version"), env!("CARGO_PKG_VERSION"));
    }
}

fn with<const N: usize>(endpoint: &(String, String), variables: [(&str, &str); N]) -> Vec<(String, String)> {
    let further = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    std::iter::once(endpoint.clone()).chain(further).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_speaks_tls_is_trusted_by_the_certificate_that_is_named() {
    let pki = Pki::new().unwrap();
    let files = pki.files_named("collector", &Role::Masker.request(&[])).unwrap();
    let collector = TraceCollector::encrypted(&files).unwrap();
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), collector.endpoint());
    let authority = files.ca().display().to_string();
    let mut stack = Stack::bare().await.unwrap();
    stack.variables = with(&endpoint, [("OTEL_EXPORTER_OTLP_CERTIFICATE", &authority)]);
    stack.start_writer(&[]).await.unwrap();
    stack.variables = vec![endpoint];
    stack.start_masker(&[]).await.unwrap();
    stack.variables.clear();
    stack.start_reader(&[]).await.unwrap();
    stack.send_logins("user-", 20).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    stack.stop().await.unwrap();
    let services: BTreeSet<_> = collector.received().into_iter().map(|received| received.service).collect();
    assert_eq!(services, BTreeSet::from(["veilpost-writer".to_owned()]), "only the writer trusts it");
}

/// Accepts connections, as the kernel does for whoever listens, and never says a word.
fn black_hole() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    (listener, endpoint)
}

/// Longer than the flush of the last spans may take, shorter than an export's own timeout.
const PROMPT: Duration = Duration::from_secs(9);

/// A hundred events through services of which each has one of the endpoints, and the end of each.
async fn pipeline_with(endpoints: [&str; 3]) {
    let mut stack = Stack::bare().await.unwrap();
    let exporting_to = |endpoint: &str| vec![("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), endpoint.to_owned())];
    stack.variables = exporting_to(endpoints[0]);
    stack.start_writer(&[]).await.unwrap();
    stack.variables = exporting_to(endpoints[1]);
    stack.start_masker(&[]).await.unwrap();
    stack.variables = exporting_to(endpoints[2]);
    stack.start_reader(&[]).await.unwrap();
    stack.send_logins("user-", 100).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    assert_eq!(stack.rows().await.unwrap(), 100);
    for service in stack.readers.iter_mut().chain(&mut stack.maskers).chain(&mut stack.writers) {
        let stopping = Instant::now();
        let status = service.stop(Duration::from_secs(40)).await.unwrap();
        assert!(status.success(), "{} with one of {endpoints:?} ended with {status}", service.name());
        assert!(stopping.elapsed() < PROMPT, "{} with one of {endpoints:?} took long to end", service.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_down_or_silent_or_speaks_something_else_stops_nothing() {
    let (_listener, silent) = black_hole();
    let other = EmbeddedQueue::start(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    pipeline_with(["http://127.0.0.1:1", &silent, &other.endpoint()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misconfigured_collector_stops_nothing() {
    let collector = TraceCollector::start().unwrap();
    let encrypted = collector.endpoint().replace("http://", "https://");
    pipeline_with(["not a url", &encrypted, "localhost:4317"]).await;
    assert!(collector.received().is_empty());
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
