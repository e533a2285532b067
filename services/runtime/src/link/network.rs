//! How the link reaches other machines: names, and connections to addresses.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tonic::transport::Uri;

use crate::{Identity, tls};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// What names resolve to and what connections are made of. Tests of the link simulate one.
pub(super) trait Network: Clone + Send + Sync + 'static {
    /// The addresses of a name.
    fn look_up(&self, host: &str, port: u16)
    -> impl Future<Output = io::Result<BTreeSet<SocketAddr>>> + Send;

    /// Connects to `address`, which `host` resolves to.
    fn connect(
        &self,
        address: SocketAddr,
        host: &str,
    ) -> impl Future<Output = anyhow::Result<Connection>> + Send;
}

/// A connection on which HTTP/2 can begin.
pub(super) struct Connection {
    pub(super) stream: Box<dyn ByteStream>,
    /// Scheme and authority of the requests on it.
    pub(super) origin: Uri,
    /// Resolves, with the reason, when the connection should be replaced.
    pub(super) renewal: BoxFuture<'static, &'static str>,
}

pub(super) trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for S {}

/// The machine's own network, with mutual TLS where there is an identity.
#[derive(Clone, Debug)]
pub(super) struct SystemNetwork {
    pub(super) identity: Option<Identity>,
}

impl Network for SystemNetwork {
    async fn look_up(&self, host: &str, port: u16) -> io::Result<BTreeSet<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }

    async fn connect(&self, address: SocketAddr, host: &str) -> anyhow::Result<Connection> {
        match &self.identity {
            Some(identity) => connect_tls(address, host, identity).await,
            None => connect(address).await,
        }
    }
}

async fn connect(address: SocketAddr) -> anyhow::Result<Connection> {
    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address));
    let stream = connecting.await.context("no connection in time")?.context("cannot connect")?;
    stream.set_nodelay(true)?;
    let origin = origin("http", &address.to_string())?;
    Ok(Connection { stream: Box::new(stream), origin, renewal: std::future::pending().boxed() })
}

/// The TLS connection is made here, because the channel would only know an address and not the name that the
/// certificate must have. The channel gets the finished connection.
async fn connect_tls(address: SocketAddr, host: &str, identity: &Identity) -> anyhow::Result<Connection> {
    let connected = tls::connect(address, host, identity).await?;
    let renewal = connected.renewal().boxed();
    let origin = origin("https", &authority(host, address.port()))?;
    Ok(Connection { stream: Box::new(connected.stream), origin, renewal })
}

pub(super) fn origin(scheme: &str, authority: &str) -> anyhow::Result<Uri> {
    Ok(Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build()?)
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
