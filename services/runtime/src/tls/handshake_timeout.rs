//! Bounds how long a peer may take to begin, with TLS or without.

use std::io;
use std::time::Duration;

use tokio::time::timeout;

/// How long a handshake may take; without TLS, how long the first byte may.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs `handshake`; an error of kind `TimedOut` when it takes too long.
pub(crate) async fn within_handshake_timeout<T>(
    handshake: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    timeout(HANDSHAKE_TIMEOUT, handshake).await.unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, "the handshake was not over in time"))
    })
}
