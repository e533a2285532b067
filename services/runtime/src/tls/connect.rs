//! A client's side of TLS: connects to one address, and checks that the certificate there is for the name
//! that was looked up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificate::{Certificate, printable};
use super::credentials::Credentials;
use super::lifetime::renewal_due;
use super::own_identity::Identity;
use super::recording_verifier::RecordingVerifier;
use super::refusal_reason::RefusalReason;
use super::refusals::Refusals;

const TIMEOUT: Duration = Duration::from_secs(3);

const NOT_TLS: &str = "not-tls: the peer does not answer as a server with TLS does: start it with --tls-certificate, --tls-key and \
                       --tls-ca, or check the port in --downstream, which may be another service's or an admin port; a \
                       server that stops or refuses connections says so in its own log";

/// A connection, and what decides when it must be replaced.
pub(crate) struct Connected {
    pub(crate) stream: TlsStream<TcpStream>,
    /// This service's certificate and the server's.
    ends: [Certificate; 2],
    changes: watch::Receiver<Arc<Credentials>>,
}

impl Connected {
    /// Resolves, with the reason, when the connection should be replaced. Call it at once: it notices changes
    /// of the files only from then on.
    pub(crate) fn renewal(&self) -> impl Future<Output = &'static str> + Send + use<> {
        renewal_due(self.ends.clone(), self.changes.clone())
    }
}

/// Connects to `address`.
///
/// # Errors
///
/// When there is no connection within three seconds, or the server has no certificate of a known CA for
/// `host`; the latter is counted as a refusal.
pub(crate) async fn connect(
    address: SocketAddr,
    host: &str,
    identity: &Identity,
) -> anyhow::Result<Connected> {
    identity.refresh().await?;
    timeout(TIMEOUT, shake_hands(address, host, identity)).await.context("no connection in time")?
}

async fn shake_hands(address: SocketAddr, host: &str, identity: &Identity) -> anyhow::Result<Connected> {
    let changes = identity.changes();
    let credentials = identity.current();
    let name = ServerName::try_from(host.trim_end_matches('.').to_owned())
        .context("not a name that a certificate could have")?;
    let recording = RecordingVerifier::around(Arc::clone(&credentials.servers));
    let verifier: Arc<dyn ServerCertVerifier> = Arc::<RecordingVerifier<_>>::clone(&recording);
    let config = credentials.client(verifier)?;
    let tcp = TcpStream::connect(address).await.context("cannot connect")?;
    tcp.set_nodelay(true)?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(|error| {
        let reason = RefusalReason::of(&error);
        Refusals::count(reason);
        // A server without TLS answers in its own protocol or not at all, as chance has it.
        if matches!(reason, RefusalReason::NotTls | RefusalReason::Left) && recording.seen().is_none() {
            return anyhow::anyhow!(NOT_TLS);
        }
        let shown =
            recording.seen().map_or_else(String::new, |certificate| format!(" (it has {certificate})"));
        let error = printable(&error.to_string());
        anyhow::anyhow!("no TLS with a server certified for `{host}`{shown}: {}: {error}", reason.name())
    })?;
    let server = recording.seen().context("the server's certificate cannot be parsed")?;
    Ok(Connected { stream, ends: [credentials.certificate.clone(), server], changes })
}
