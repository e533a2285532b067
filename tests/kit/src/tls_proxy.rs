//! A proxy that puts TLS in front of a server without it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use veilpost_local::certificates::IssuedCertificate;

/// Passes connections on to one address. Dropping it cuts them all.
#[derive(Debug)]
pub struct TlsProxy {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl TlsProxy {
    pub async fn before(upstream: SocketAddr, issued: &IssuedCertificate) -> anyhow::Result<Self> {
        let certificate = CertificateDer::from_pem_slice(issued.certificate.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes())?;
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), upstream));
        Ok(Self { address, _tasks: tasks })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, upstream: SocketAddr) {
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        connections.spawn(async move {
            let (Ok(mut tls), Ok(mut plain)) =
                (acceptor.accept(tcp).await, TcpStream::connect(upstream).await)
            else {
                return;
            };
            // Either side may end the connection at any time.
            let _over = copy_bidirectional(&mut tls, &mut plain).await;
        });
    }
}
