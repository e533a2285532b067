//! A server's side of a TLS connection, which is cut when its peer can no longer be trusted.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::certificate::Certificate;

/// The client of a connection; in the extensions of every request.
#[derive(Clone, Debug)]
pub(crate) struct TlsPeer {
    pub(super) address: SocketAddr,
    pub(super) certificate: Arc<Certificate>,
}

pub(crate) struct TlsConnection {
    stream: TlsStream<TcpStream>,
    peer: TlsPeer,
    /// Resolves when the peer can no longer be trusted; `None` once it has.
    untrusted: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl TlsConnection {
    pub(super) fn new(
        stream: TlsStream<TcpStream>,
        peer: TlsPeer,
        untrusted: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self { stream, peer, untrusted: Some(Box::pin(untrusted)) }
    }

    fn poll_trusted(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let Some(untrusted) = &mut self.untrusted
            && untrusted.as_mut().poll(context).is_pending()
        {
            return Ok(());
        }
        self.untrusted = None;
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the peer is no longer trusted"))
    }
}

impl Connected for TlsConnection {
    type ConnectInfo = TlsPeer;

    fn connect_info(&self) -> TlsPeer {
        self.peer.clone()
    }
}

/// An HTTP/2 server always has a read pending, so the end of trust is noticed here even while nothing
/// arrives.
impl AsyncRead for TlsConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_trusted(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for TlsConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
