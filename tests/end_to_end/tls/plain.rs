//! A masker without TLS: its warning, and its limit of connections.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use veilpost_local::certificates::Role;
use veilpost_testkit::Pki;

use super::masker::{health, masker, open};

const WARNING: &str = "no TLS: everybody who reaches this address can read and send records";

/// The first bytes of an HTTP/2 client: the preface, and empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_on_more_than_loopback_is_warned_about_and_nothing_else_is() {
    let pki = Pki::new().unwrap();
    let files = pki.files_of(Role::Masker).unwrap();
    for (address, files, warned) in [
        ("0.0.0.0:0", None, true),
        ("127.0.0.1:0", None, false),
        ("[::1]:0", None, false),
        ("0.0.0.0:0", Some(&files), false),
    ] {
        if address.starts_with('[') && std::net::TcpListener::bind(address).is_err() {
            continue;
        }
        let masker = masker(&pki, files, &[("--listen-address", address)]).await;
        assert_eq!(masker.lines("listening").iter().filter(|line| line["port"] == "grpc").count(), 1);
        let lines = masker.lines(WARNING);
        assert_eq!(lines.len(), usize::from(warned), "on {address}, TLS: {}", files.is_some());
        assert!(lines.iter().all(|line| line["level"] == "WARN" && line["address"].is_string()));
    }
}

/// A connection on which the masker has answered the preface; none if it closes the connection.
async fn connect(address: SocketAddr) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(PREFACE).await.ok()?;
    let answer = timeout(Duration::from_secs(20), stream.read_u8()).await.expect("an answer or an end");
    answer.ok().map(|_| stream)
}

/// Only on Linux does 127.0.0.2 need no set-up, and can the open files of a process be counted.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_opens_thousands_of_connections_keeps_no_other_host_out() {
    let pki = Pki::new().unwrap();
    let mut masker = masker(&pki, None, &[]).await;
    let other = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let mut earlier = open(masker.plain_from(other)).await.unwrap();
    let files = format!("/proc/{}/fd", masker.service.pid());
    let open_files = || std::fs::read_dir(&files).unwrap().count();
    let before = open_files();
    let (mut silent, mut accepted, mut refused) = (Vec::new(), Vec::new(), 0);
    for round in 0..2000 {
        match connect(masker.address).await {
            Some(stream) => accepted.push(stream),
            None => refused += 1,
        }
        silent.push(TcpStream::connect(masker.address).await.unwrap());
        assert!(open_files() < before + 400, "after {round} rounds");
        // Keeps few descriptors open here; the masker has closed the oldest connections itself.
        if silent.len() > 200 {
            silent.remove(0);
        }
        if refused == 100 {
            break;
        }
    }
    assert!(accepted.len() >= 100 && refused == 100, "{} accepted, {refused} refused", accepted.len());
    health(masker.plain_from(other)).await.unwrap();
    open(masker.plain_from(other)).await.unwrap();
    masker.refusal("connection", "crowded").await;
    assert!(masker.refused("crowded").await >= 100.0);
    let still = timeout(Duration::from_millis(100), earlier.message()).await;
    assert!(still.is_err(), "the earlier stream goes on");
}
