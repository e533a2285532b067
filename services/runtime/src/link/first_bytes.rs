//! The first bytes that a peer sends. They tell what kind of server it is when no stream can be opened.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::network::ByteStream;

/// The longest start that tells anything: HTTP/2's first frame has nine bytes before its content.
const LENGTH: usize = 9;

/// The type of the frame that every HTTP/2 server sends first.
const SETTINGS_FRAME: u8 = 4;

/// The first byte of an alert of TLS.
const TLS_ALERT: u8 = 0x15;

/// What has been heard from a peer; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct FirstBytes(Arc<Mutex<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    bytes: Vec<u8>,
    has_ended: bool,
}

impl FirstBytes {
    /// What the peer is, if it is none that streams can be opened to. The text says what to do. `is_tls`: the
    /// bytes came through TLS.
    pub(super) fn wrong_peer(&self, is_tls: bool) -> Option<&'static str> {
        let heard = self.0.lock();
        match &heard.bytes[..] {
            // With TLS, the reason is in the error: the peer may refuse a certificate.
            [] if heard.has_ended && !is_tls => Some(
                "the peer closes the connection without an answer: it may need TLS (https:// and the three \
                 --tls-… files), may be another service's port, or stops or refuses connections, which its own log \
                 says",
            ),
            [] => None,
            [TLS_ALERT, ..] if !is_tls => Some(
                "the peer speaks TLS, and this service does not: write https:// in --downstream, and give \
                 --tls-certificate, --tls-key and --tls-ca",
            ),
            bytes if bytes.starts_with(b"HTTP/1") => Some(
                "the peer speaks HTTP/1 and no gRPC: check the port in --downstream, which may be an admin port",
            ),
            [_, _, _, SETTINGS_FRAME, ..] => None,
            _ => Some(
                "the peer speaks no HTTP/2: check the port in --downstream, another service listens there",
            ),
        }
    }

    /// Notes that the connection has ended or broken.
    fn end(&self) {
        self.0.lock().has_ended = true;
    }

    fn note(&self, bytes: &[u8]) {
        let mut heard = self.0.lock();
        heard.has_ended |= bytes.is_empty();
        let missing = LENGTH.saturating_sub(heard.bytes.len()).min(bytes.len());
        heard.bytes.extend(bytes.iter().take(missing));
    }
}

/// A stream whose first bytes are noted.
pub(super) struct NotedStream {
    stream: Box<dyn ByteStream>,
    /// None once enough has been heard.
    first_bytes: Option<FirstBytes>,
    heard: usize,
}

impl NotedStream {
    pub(super) fn new(stream: Box<dyn ByteStream>) -> (Self, FirstBytes) {
        let first_bytes = FirstBytes::default();
        (Self { stream, first_bytes: Some(first_bytes.clone()), heard: 0 }, first_bytes)
    }

    /// A peer that has closed the connection is found out by whoever comes first, reading or writing.
    fn noting<T>(&self, written: io::Result<T>) -> io::Result<T> {
        if let (Err(_), Some(first_bytes)) = (&written, &self.first_bytes) {
            first_bytes.end();
        }
        written
    }
}

impl AsyncRead for NotedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut this.stream).poll_read(context, buffer));
        if let Some(first_bytes) = &this.first_bytes {
            // A connection that breaks has ended as well.
            let new = buffer.filled().get(before..).unwrap_or_default();
            first_bytes.note(new);
            this.heard += new.len();
            if this.heard >= LENGTH {
                this.first_bytes = None;
            }
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for NotedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        Poll::Ready(self.noting(written))
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
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, slices));
        Poll::Ready(self.noting(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// What is said of a peer that sends `bytes` and closes the connection.
    async fn of_peer(bytes: &[u8]) -> Option<&'static str> {
        let (ours, mut theirs) = tokio::io::duplex(64);
        theirs.write_all(bytes).await.unwrap();
        drop(theirs);
        let (mut stream, first_bytes) = NotedStream::new(Box::new(ours));
        let mut read = Vec::new();
        stream.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, bytes, "nothing is changed");
        first_bytes.wrong_peer(false)
    }

    #[tokio::test]
    async fn a_peer_is_known_by_its_first_bytes() {
        assert_eq!(of_peer(b"\0\0\x12\x04\0\0\0\0\0and more of it").await, None, "HTTP/2");
        assert_eq!(of_peer(b"\0\0\0").await.map(|text| text.contains("no HTTP/2")), Some(true));
        for (bytes, expected) in [
            (&b""[..], "without an answer"),
            (b"\x15\x03\x03\0\x02\x02\x46", "speaks TLS"),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP/1"),
            (b"E\0\0\0\x88SFATAL", "no HTTP/2"),
        ] {
            let said = of_peer(bytes).await.unwrap();
            assert!(said.contains(expected), "{said}");
        }
        assert_eq!(
            NotedStream::new(Box::new(tokio::io::duplex(1).0)).1.wrong_peer(false),
            None,
            "nothing yet"
        );
    }
}
