//! Bounds a server's connections, in all and from one address: established connections are kept, connections
//! over the limit are refused.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// Connections of one server: more than any deployment has callers, and together with the handshakes under
/// way fewer than the usual limit of 1,024 file descriptors.
const MAX_CONNECTIONS: usize = 512;

/// Connections from one address, so that no single host keeps others out.
const MAX_PER_ADDRESS: usize = 128;

/// The connections that a server has, by address; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionLimit(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl ConnectionLimit {
    /// Permits one more connection from `address`; `None` when that would be over a limit.
    pub(crate) fn permit(&self, address: IpAddr) -> Option<ConnectionPermit> {
        let mut open = self.0.lock();
        let all: usize = open.values().sum();
        let of_address = open.get(&address).copied().unwrap_or(0);
        if all >= MAX_CONNECTIONS || of_address >= MAX_PER_ADDRESS {
            return None;
        }
        open.insert(address, of_address + 1);
        Some(ConnectionPermit { limit: self.clone(), address })
    }
}

/// Counts as one connection of a [`ConnectionLimit`] until it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    limit: ConnectionLimit,
    address: IpAddr,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = self.limit.0.lock();
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

/// A connection with its permit, which ends with it.
#[derive(Debug)]
pub(crate) struct PermittedConnection<C> {
    connection: C,
    _permit: ConnectionPermit,
}

impl<C> PermittedConnection<C> {
    pub(crate) fn new(connection: C, permit: ConnectionPermit) -> Self {
        Self { connection, _permit: permit }
    }
}

impl<C: Connected> Connected for PermittedConnection<C> {
    type ConnectInfo = C::ConnectInfo;

    fn connect_info(&self) -> C::ConnectInfo {
        self.connection.connect_info()
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for PermittedConnection<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(context, buffer)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for PermittedConnection<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn one_address_keeps_no_other_out_and_gets_back_what_it_gives_up() {
        let limit = ConnectionLimit::default();
        let mut of_one: Vec<_> = (0..MAX_PER_ADDRESS).map(|_| limit.permit(address(1)).unwrap()).collect();
        assert!(limit.permit(address(1)).is_none());
        let other = limit.permit(address(2)).unwrap();
        drop(of_one.pop());
        let again = limit.permit(address(1)).unwrap();
        assert!(limit.permit(address(1)).is_none());
        drop((of_one, other, again));
        assert!(limit.0.lock().is_empty());
    }

    #[test]
    fn all_addresses_together_stay_within_the_limit() {
        let limit = ConnectionLimit::default();
        let permits: Vec<_> = (0..10_000).filter_map(|number| limit.permit(address(number))).collect();
        assert_eq!(permits.len(), MAX_CONNECTIONS);
    }
}
