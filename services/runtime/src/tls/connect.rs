//! A client's side: connects to one address, and checks that the certificate there is for the name that was looked up.

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
use super::refusal::Reason;
use super::trust::renewal;
use super::witness::Witness;
use super::{Identity, Refusals};

const TIMEOUT: Duration = Duration::from_secs(3);

/// A connection, and what says when it is to be made anew.
pub(crate) struct Connected {
    pub(crate) stream: TlsStream<TcpStream>,
    ends: [Certificate; 2],
    changes: watch::Receiver<Arc<Credentials>>,
}

impl Connected {
    /// Resolves, with the reason, when the connection should be made anew; to be called at once.
    pub(crate) fn renewal(&self) -> impl Future<Output = &'static str> + Send + use<> {
        renewal(self.ends.clone(), self.changes.clone())
    }
}

/// Fails, and is counted, when the server has no certificate of a known CA for `host`.
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
        .context("no name that a certificate could have")?;
    let witness = Witness::before(Arc::clone(&credentials.servers));
    let verifier: Arc<dyn ServerCertVerifier> = Arc::<Witness<_>>::clone(&witness);
    let config = credentials.client(verifier)?;
    let tcp = TcpStream::connect(address).await.context("cannot connect")?;
    tcp.set_nodelay(true)?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(|error| {
        let reason = Reason::of(&error);
        Refusals::count(reason);
        let shown = witness.seen().map_or_else(String::new, |certificate| format!(" (it has {certificate})"));
        let error = printable(&error.to_string());
        anyhow::anyhow!("no TLS with a server certified for `{host}`{shown}: {}: {error}", reason.name())
    })?;
    let server = witness.seen().context("the server's certificate cannot be understood")?;
    Ok(Connected { stream, ends: [credentials.certificate.clone(), server], changes })
}
