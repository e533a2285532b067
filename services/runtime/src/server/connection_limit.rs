//! How many connections a server has, in all and from one address. Who is there keeps his place; who comes too many is refused.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// More than any fleet has callers, and with the handshakes under way fewer than the 1,024 file descriptors that are usual.
const PLACES: usize = 512;

/// So many from one address, that no single host keeps others out.
const PLACES_OF_ONE: usize = 128;

/// The places taken, by address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl Places {
    /// A place, if there is one for a connection from `address`.
    pub(crate) fn take(&self, address: IpAddr) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let of_one = taken.get(&address).copied().unwrap_or(0);
        if all >= PLACES || of_one >= PLACES_OF_ONE {
            return None;
        }
        taken.insert(address, of_one + 1);
        Some(Place { places: self.clone(), address })
    }
}

/// A place, free again when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

/// A connection that has a place for as long as it lasts.
#[derive(Debug)]
pub(crate) struct Seated<C> {
    connection: C,
    _place: Place,
}

impl<C> Seated<C> {
    pub(crate) fn new(connection: C, place: Place) -> Self {
        Self { connection, _place: place }
    }
}

impl<C: Connected> Connected for Seated<C> {
    type ConnectInfo = C::ConnectInfo;

    fn connect_info(&self) -> C::ConnectInfo {
        self.connection.connect_info()
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Seated<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(context, buffer)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Seated<C> {
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
        let places = Places::default();
        let mut of_one: Vec<_> = (0..PLACES_OF_ONE).map(|_| places.take(address(1)).unwrap()).collect();
        assert!(places.take(address(1)).is_none());
        let other = places.take(address(2)).unwrap();
        drop(of_one.pop());
        let again = places.take(address(1)).unwrap();
        assert!(places.take(address(1)).is_none());
        drop((of_one, other, again));
        assert!(places.0.lock().unwrap().is_empty());
    }

    #[test]
    fn all_together_have_no_more_than_there_are() {
        let places = Places::default();
        let taken: Vec<_> = (0..10_000).filter_map(|number| places.take(address(number))).collect();
        assert_eq!(taken.len(), PLACES);
    }
}
