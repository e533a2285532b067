//! An HTTP/1 server for the admin port, bounded in time, memory and connections whatever its clients do.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::telemetry::OutageLog;

/// How long a request's line and headers may take, and how long a connection may be idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may last, also one whose peer does not read its answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(2);

/// The bytes that a request's line and headers may take, and their number.
const MAX_HEADER_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 50;

/// Connections at once. One more ends the oldest, so that idle connections keep nobody out.
const MAX_CONNECTIONS: usize = 64;

/// The pause after a failed accept, for example because file descriptors have run out.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves `routes` until dropped.
pub(crate) async fn serve(listener: TcpListener, routes: Router) -> ! {
    let mut connections = JoinSet::new();
    let mut oldest_first = VecDeque::new();
    let outage = OutageLog::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if outage.note_success() {
                        tracing::info!(port = "admin", "accepting connections again");
                    }
                    make_room(&mut oldest_first);
                    oldest_first.push_back(connections.spawn(serve_one(stream, routes.clone())));
                }
                Err(error) => pause_after(&error, &outage).await,
            },
            Some(_) = connections.join_next() => oldest_first.retain(|one: &AbortHandle| !one.is_finished()),
        }
    }
}

fn make_room(oldest_first: &mut VecDeque<AbortHandle>) {
    if oldest_first.len() >= MAX_CONNECTIONS
        && let Some(oldest) = oldest_first.pop_front()
    {
        oldest.abort();
    }
}

/// A client that left before it was accepted is no reason to pause.
async fn pause_after(error: &io::Error, outage: &OutageLog) {
    let of_client = [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset];
    if !of_client.contains(&error.kind()) {
        if outage.note_failure(error) {
            tracing::warn!(port = "admin", error = error.to_string(), "cannot accept a connection");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn serve_one(stream: TcpStream, routes: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(port = "admin", error = error.to_string(), "a connection broke"),
        Err(_) => tracing::debug!(port = "admin", "a connection took too long"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    async fn start(tasks: &mut JoinSet<()>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new().route("/livez", get(async || "alive\n"));
        tasks.spawn(async move { serve(listener, routes).await });
        address
    }

    async fn connect(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn answer(mut stream: TcpStream) -> String {
        let mut answer = Vec::new();
        // A connection that is cut ends with an error or without one.
        let _cut = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    const PROBE: &str = "GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn clients_that_send_half_a_request_keep_nobody_out() {
        let mut tasks = JoinSet::new();
        let address = start(&mut tasks).await;
        let mut crowd = Vec::new();
        for _ in 0..3 * MAX_CONNECTIONS {
            crowd.push(connect(address, "GET /livez HTTP/1.1\r\nx: ").await);
        }
        assert!(answer(connect(address, PROBE).await).await.ends_with("alive\n"));
        let oldest = crowd.remove(0);
        let cut = tokio::time::timeout(HEADER_TIMEOUT / 2, answer(oldest)).await;
        assert_eq!(cut.expect("the oldest was ended for the newest"), "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_whole_request_is_closed() {
        let mut tasks = JoinSet::new();
        let address = start(&mut tasks).await;
        for text in ["", "GET /livez HTTP/1.1\r\nx: ", "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"] {
            let begun = Instant::now();
            answer(connect(address, text).await).await;
            assert!(
                begun.elapsed() < HEADER_TIMEOUT * 2,
                "{text:?} held a connection for {:?}",
                begun.elapsed()
            );
        }
    }

    #[tokio::test]
    async fn requests_with_too_many_or_too_long_headers_are_refused() {
        let mut tasks = JoinSet::new();
        let address = start(&mut tasks).await;
        let long = format!("GET /livez HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(2 * MAX_HEADER_BYTES));
        let many = format!("GET /livez HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(MAX_HEADERS + 1));
        for request in [long, many] {
            let refused = answer(connect(address, &request).await).await;
            assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 431"), "{refused}");
        }
    }
}
