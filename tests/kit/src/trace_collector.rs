//! An OpenTelemetry collector that remembers every span.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use crate::CertificateFiles;

/// Serves OTLP/gRPC on loopback; dropping it ends it.
#[derive(Debug)]
pub struct TraceCollector {
    scheme: &'static str,
    address: SocketAddr,
    spans: Spans,
    _serving: JoinSet<()>,
}

#[derive(Clone, Debug, Default)]
struct Spans(Arc<Mutex<Vec<ReceivedSpan>>>);

/// A span and the service that it came from.
#[derive(Clone, Debug)]
pub struct ReceivedSpan {
    pub service: String,
    pub span: Span,
    resource: Vec<KeyValue>,
}

impl TraceCollector {
    pub fn start() -> anyhow::Result<Self> {
        Self::serve("http", Server::builder())
    }

    /// Accepts TLS only. The certificate must be valid for `localhost`.
    pub fn encrypted(files: &CertificateFiles) -> anyhow::Result<Self> {
        let identity = Identity::from_pem(std::fs::read(files.certificate())?, std::fs::read(files.key())?);
        Self::serve("https", Server::builder().tls_config(ServerTlsConfig::new().identity(identity))?)
    }

    fn serve(scheme: &'static str, mut server: Server) -> anyhow::Result<Self> {
        let incoming = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = incoming.local_addr()?;
        let spans = Spans::default();
        let service = TraceServiceServer::new(spans.clone());
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            // The server runs until the collector is dropped.
            let _over = server.add_service(service).serve_with_incoming(incoming).await;
        });
        Ok(Self { scheme, address, spans, _serving: serving })
    }

    pub fn endpoint(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.address.port())
    }

    pub fn received(&self) -> Vec<ReceivedSpan> {
        self.spans.0.lock().clone()
    }
}

impl ReceivedSpan {
    /// An attribute as text, empty when the span does not have it.
    pub fn attribute(&self, name: &str) -> String {
        attribute(&self.span.attributes, name)
    }

    /// An attribute of the process that the span is from.
    pub fn resource(&self, name: &str) -> String {
        attribute(&self.resource, name)
    }
}

fn attribute(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|attribute| attribute.value.as_ref()).and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        _ => String::new(),
    }
}

#[tonic::async_trait]
impl TraceService for Spans {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut spans = self.0.lock();
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
            let service = attribute(&attributes, "service.name");
            let of_resource = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.extend(of_resource.map(|span| ReceivedSpan {
                service: service.clone(),
                span,
                resource: attributes.clone(),
            }));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
