//! Looking up the addresses of the service downstream, again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// A look-up that takes longer counts as failed.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The addresses of the service downstream, each with the name that it was found by: the first one given, where several
/// resolve to it.
pub(super) type Addresses = BTreeMap<SocketAddr, Arc<str>>;

/// Keeps `addresses` at what `endpoints` resolve to; a failed look-up keeps the addresses known. Never returns.
pub(super) async fn keep_resolved(
    endpoints: Vec<(String, u16)>,
    interval: Duration,
    addresses: watch::Sender<Addresses>,
) {
    let mut known = vec![Known::default(); endpoints.len()];
    loop {
        for ((host, port), known) in endpoints.iter().zip(&mut known) {
            let found = look_up(host, *port).await;
            known.take(host, found);
        }
        let all = named(&endpoints, &known);
        addresses.send_if_modified(|current| {
            let changed = *current != all;
            *current = all;
            changed
        });
        tokio::time::sleep(interval).await;
    }
}

fn named(endpoints: &[(String, u16)], known: &[Known]) -> Addresses {
    let mut all = Addresses::new();
    for ((host, _), known) in endpoints.iter().zip(known) {
        for address in &known.addresses {
            all.entry(*address).or_insert_with(|| host.as_str().into());
        }
    }
    all
}

async fn look_up(host: &str, port: u16) -> Result<BTreeSet<SocketAddr>, String> {
    match tokio::time::timeout(TIMEOUT, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(found)) => Ok(found.collect()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

/// What is known of one name.
#[derive(Clone, Default)]
struct Known {
    addresses: BTreeSet<SocketAddr>,
    failing: bool,
}

impl Known {
    fn take(&mut self, host: &str, found: Result<BTreeSet<SocketAddr>, String>) {
        let failed = match found {
            Ok(found) if !found.is_empty() => {
                self.addresses = found;
                self.failing = false;
                return;
            }
            Ok(_) => "the name has no address".to_owned(),
            Err(error) => error,
        };
        if !self.failing {
            tracing::warn!(
                host,
                error = failed,
                known = self.addresses.len(),
                "look-up failed; keeping what is known"
            );
        }
        self.failing = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(ports: &[u16]) -> BTreeSet<SocketAddr> {
        ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port))).collect()
    }

    #[test]
    fn an_address_has_the_first_name_that_resolves_to_it() {
        let endpoints = [("a".to_owned(), 1), ("b".to_owned(), 1)];
        let known =
            [addresses(&[1]), addresses(&[1, 2])].map(|addresses| Known { addresses, failing: false });
        let named = named(&endpoints, &known);
        assert_eq!(named.values().map(AsRef::as_ref).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_failed_or_empty_look_up_keeps_the_addresses_known() {
        let mut known = Known::default();
        known.take("masker", Ok(addresses(&[1, 2])));
        known.take("masker", Err("broken".to_owned()));
        known.take("masker", Ok(BTreeSet::new()));
        assert_eq!(known.addresses, addresses(&[1, 2]));
        known.take("masker", Ok(addresses(&[3])));
        assert_eq!(known.addresses, addresses(&[3]));
    }
}
