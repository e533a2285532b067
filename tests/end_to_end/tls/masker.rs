//! A masker alone, and clients that connect to it.

use std::net::SocketAddr;
use std::time::Duration;

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use veilpost_local::certificates::{Authority, IssuedCertificate};
use veilpost_local::process::{ServiceCommand, ServiceProcess};
use veilpost_proto::v1::masker_client::MaskerClient;
use veilpost_proto::v1::{RawBatch, Receipt};
use veilpost_testkit::{CertificateFiles, Pki, binary, eventually};

pub(super) struct LoneMasker {
    pub(super) service: ServiceProcess,
    pub(super) address: SocketAddr,
}

/// Starts a masker that has no writer.
pub(super) async fn masker(pki: &Pki, files: Option<&CertificateFiles>, more: &[(&str, &str)]) -> LoneMasker {
    let scheme = if files.is_some() { "https" } else { "http" };
    let downstream = format!("{scheme}://127.0.0.1:1");
    let usual = [("--listen-address", "127.0.0.1:0"), ("--downstream", downstream.as_str())];
    let usual = usual.iter().filter(|(flag, _)| more.iter().all(|(given, _)| given != flag));
    let mut command = ServiceCommand::new("masker", binary("veilpost-masker").unwrap());
    for (flag, value) in usual.chain(more) {
        command = command.arg(flag, *value);
    }
    for (flag, value) in files.map(CertificateFiles::flags).unwrap_or_default() {
        command = command.arg(flag, value);
    }
    let directory = tempfile::Builder::new().prefix("masker").tempdir_in(pki.path()).unwrap().keep();
    let mut service = command.start(&directory).unwrap();
    let address = service.grpc_address().await.unwrap();
    LoneMasker { service, address }
}

impl LoneMasker {
    fn endpoint(&self, scheme: &str) -> Endpoint {
        Channel::from_shared(format!("{scheme}://{}", self.address))
            .unwrap()
            .connect_timeout(Duration::from_secs(10))
            .timeout(Duration::from_secs(20))
    }

    pub(super) fn plain(&self) -> Channel {
        self.endpoint("http").connect_lazy()
    }

    /// A channel whose connection comes from `address`.
    #[cfg(target_os = "linux")]
    pub(super) fn plain_from(&self, address: std::net::IpAddr) -> Channel {
        self.endpoint("http").local_address(Some(address)).connect_lazy()
    }

    /// A channel of another TLS client than the services', tonic's own; without a certificate of its own
    /// where `own` is none.
    pub(super) fn tls(&self, ca: &Authority, own: Option<&IssuedCertificate>) -> Channel {
        let config = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(ca.certificate()))
            .domain_name("masker");
        let config = match own {
            Some(own) => config.identity(Identity::from_pem(&own.certificate, &own.key)),
            None => config,
        };
        self.endpoint("https").tls_config(config).unwrap().connect_lazy()
    }

    /// The log lines with `message`, as JSON.
    pub(super) fn lines(&self, message: &str) -> Vec<serde_json::Value> {
        let log = std::fs::read_to_string(self.service.log_file()).unwrap();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines.filter(|line| line["message"].as_str() == Some(message)).collect()
    }

    /// Waits for the one line that says that `what` was refused for `reason`.
    pub(super) async fn refusal(&self, what: &str, reason: &str) -> serde_json::Value {
        let message = format!("{what} refused");
        let ask = async || {
            let of_reason = |line: &serde_json::Value| line["reason"].as_str() == Some(reason);
            let mut lines: Vec<_> = self.lines(&message).into_iter().filter(of_reason).collect();
            match lines.len() {
                1 => Ok(lines.remove(0)),
                _ => Err(format!("{} lines; the log ends: {}", lines.len(), self.service.log_tail())),
            }
        };
        eventually("one refusal", ask).await.unwrap()
    }

    pub(super) async fn refused(&mut self, reason: &str) -> f64 {
        let metrics = self.service.metrics().await.unwrap();
        metrics.sum("veilpost_tls_refused_total", &[("reason", reason)])
    }
}

/// Opens a stream of records and sends none.
pub(super) async fn open(channel: Channel) -> Result<Streaming<Receipt>, Status> {
    let batches = tokio_stream::pending::<RawBatch>();
    MaskerClient::new(channel).mask(batches).await.map(tonic::Response::into_inner)
}

pub(super) async fn health(channel: Channel) -> Result<(), Status> {
    let request = HealthCheckRequest { service: "veilpost.v1.Masker".to_owned() };
    HealthClient::new(channel).check(request).await.map(|_| ())
}

/// Neither kind of call gets through.
pub(super) async fn gets_nowhere(channel: Channel) {
    let stream = open(channel.clone()).await;
    assert!(stream.is_err_and(|status| status.code() != Code::PermissionDenied));
    assert!(health(channel).await.is_err());
}
