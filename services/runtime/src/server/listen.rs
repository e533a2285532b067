//! Addresses to listen on: read from text, and bound with an error that says what to do.

use std::io::ErrorKind;
use std::net::SocketAddr;

use anyhow::Context;
use tokio::net::TcpListener;

/// Reads an IP address and a port, such as `127.0.0.1:9101` or `[::]:9101`.
///
/// # Errors
///
/// When `text` is no such address. The message says which part is wrong and what to write instead.
pub fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.trim().parse().map_err(|_| {
        let example = "write an IP address and a port, such as 127.0.0.1:9101 or [::1]:9101";
        match text.rsplit_once(':') {
            None => format!("it has no port; {example}"),
            Some((_, port)) if port.trim().parse::<u16>().is_err() => {
                format!("the port is not a number from 0 to 65535; {example}")
            }
            Some(_) => format!("a port follows something that is no IP address; {example}"),
        }
    })
}

/// Listens on `address`, which `option` has named; port 0 takes a free port.
pub(crate) async fn listen(address: SocketAddr, option: &str) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound
        .map_err(|error| {
            let hint = match error.kind() {
                ErrorKind::AddrInUse => "another process listens there: end it, or choose another port",
                ErrorKind::AddrNotAvailable => {
                    "this machine has no such address; 0.0.0.0 and [::] stand for all that it has"
                }
                ErrorKind::PermissionDenied => "this user may not: choose a port above 1023",
                _ => return anyhow::Error::from(error),
            };
            anyhow::anyhow!("{hint} ({error})")
        })
        .with_context(|| format!("cannot listen on {option} {address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_ip_address_and_a_port() {
        for text in ["127.0.0.1:0", "[::1]:9101", " 0.0.0.0:65535 "] {
            assert!(parse_address(text).is_ok(), "{text}");
        }
        for (text, expected) in [
            ("127.0.0.1", "no port"),
            ("", "no port"),
            ("127.0.0.1:65536", "from 0 to 65535"),
            ("127.0.0.1:-1", "from 0 to 65535"),
            ("127.0.0.1:http", "from 0 to 65535"),
            ("127.0.0.1:", "from 0 to 65535"),
            ("localhost:9101", "no IP address"),
            ("::1:9101x", "from 0 to 65535"),
            ("256.0.0.1:9101", "no IP address"),
        ] {
            let refusal = parse_address(text).unwrap_err();
            assert!(refusal.contains(expected) && refusal.contains("such as 127.0.0.1:9101"), "{refusal}");
        }
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_listened_on_is_named_with_its_option_and_a_way_out() {
        let taken = listen(SocketAddr::from(([127, 0, 0, 1], 0)), "--a").await.unwrap();
        let address = taken.local_addr().unwrap();
        let error = format!("{:#}", listen(address, "--admin-address").await.unwrap_err());
        assert!(error.contains(&format!("--admin-address {address}")), "{error}");
        assert!(error.contains("another process listens there"), "{error}");
        let foreign = SocketAddr::from(([203, 0, 113, 1], 0));
        let error = format!("{:#}", listen(foreign, "--listen-address").await.unwrap_err());
        assert!(error.contains("no such address"), "{error}");
    }
}
