//! A proxy that puts TLS in front of a server without it.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use veilpost_local::certificates::IssuedCertificate;

use crate::acceptor::Acceptor;

/// Passes connections on to one address. Dropping it cuts them all.
#[derive(Debug)]
pub struct TlsProxy {
    acceptor: Acceptor,
}

impl TlsProxy {
    pub async fn before(upstream: SocketAddr, issued: &IssuedCertificate) -> anyhow::Result<Self> {
        let certificate = CertificateDer::from_pem_slice(issued.certificate.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes())?;
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        let tls = TlsAcceptor::from(Arc::new(config));
        let serve = move |connection| carry(connection, tls.clone(), upstream);
        Ok(Self { acceptor: Acceptor::start(serve).await? })
    }

    pub fn address(&self) -> SocketAddr {
        self.acceptor.address()
    }
}

async fn carry(connection: TcpStream, acceptor: TlsAcceptor, upstream: SocketAddr) {
    let (Ok(mut tls), Ok(mut plain)) =
        (acceptor.accept(connection).await, TcpStream::connect(upstream).await)
    else {
        return;
    };
    // Either side may end the connection at any time.
    let _over = copy_bidirectional(&mut tls, &mut plain).await;
}
