//! Asks a service whether it is ready, for container images without a shell; exit status 0 when it is.
//!
//!     veilpost-healthcheck [ADDRESS PATH]
//!
//! Without arguments it asks `/readyz` at `VEILPOST_ADMIN_ADDRESS`.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

/// How long connecting, sending and receiving may each take.
const TIMEOUT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let outcome = target().and_then(|(address, path)| ask(reachable(address), &path));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Docker shows what an unhealthy container's check wrote.
            let _gone = writeln!(std::io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn target() -> anyhow::Result<(SocketAddr, String)> {
    let mut arguments = std::env::args().skip(1);
    let address = match arguments.next() {
        Some(address) => address,
        None => std::env::var("VEILPOST_ADMIN_ADDRESS").context("VEILPOST_ADMIN_ADDRESS is not set")?,
    };
    let path = arguments.next().unwrap_or_else(|| "/readyz".to_owned());
    let address: SocketAddr = address
        .parse()
        .with_context(|| format!("`{address}` is not an IP address and a port, such as 127.0.0.1:9101"))?;
    anyhow::ensure!(address.port() > 0, "port 0 stands for any free port, so nobody can be asked there");
    Ok((address, path))
}

/// The address at which a process on the same machine reaches a server that listens on `address`.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

fn ask(address: SocketAddr, path: &str) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).context("no connection")?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).context("no request")?;
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status).context("no answer")?;
    anyhow::ensure!(status.split_whitespace().nth(1) == Some("200"), "answered {}", status.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A server that answers one request with `status`.
    fn server(status: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(&stream).lines().map(Result::unwrap);
            let request: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
            assert_eq!(request[0], "GET /readyz HTTP/1.1");
            write!(stream, "HTTP/1.1 {status}\r\n\r\n").unwrap();
        });
        address
    }

    #[test]
    fn only_a_200_is_healthy() {
        ask(server("200 OK"), "/readyz").unwrap();
        let refusal = ask(server("503 Service Unavailable"), "/readyz").unwrap_err();
        assert!(refusal.to_string().contains("503"));
    }

    #[test]
    fn a_port_without_a_server_is_unhealthy() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(ask(address, "/readyz").is_err());
    }

    #[test]
    fn a_server_that_listens_everywhere_is_asked_over_loopback() {
        for (listens, asked) in
            [("0.0.0.0:9101", "127.0.0.1:9101"), ("[::]:1", "[::1]:1"), ("10.0.0.1:2", "10.0.0.1:2")]
        {
            assert_eq!(reachable(listens.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
