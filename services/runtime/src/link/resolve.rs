//! Looks up the addresses of the service downstream, again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::network::Network;
use crate::telemetry::OutageLog;

/// A look-up that takes longer counts as failed.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The addresses of the service downstream, each with the name that resolves to it; where several do, the
/// first of them in the settings.
pub(super) type Addresses = BTreeMap<SocketAddr, Arc<str>>;

/// Keeps `addresses` at what `endpoints` resolve to; a failed look-up keeps the addresses known. Never
/// returns.
pub(super) async fn keep_resolved<N: Network>(
    network: N,
    endpoints: Vec<(String, u16)>,
    interval: Duration,
    addresses: watch::Sender<Addresses>,
) {
    let mut known = endpoints.iter().map(|_| KnownAddresses::default()).collect::<Vec<_>>();
    loop {
        for ((host, port), known) in endpoints.iter().zip(&mut known) {
            let found = look_up(&network, host, *port).await;
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

fn named(endpoints: &[(String, u16)], known: &[KnownAddresses]) -> Addresses {
    let mut all = Addresses::new();
    for ((host, _), known) in endpoints.iter().zip(known) {
        for address in &known.addresses {
            all.entry(*address).or_insert_with(|| host.as_str().into());
        }
    }
    all
}

async fn look_up<N: Network>(network: &N, host: &str, port: u16) -> Result<BTreeSet<SocketAddr>, String> {
    match tokio::time::timeout(TIMEOUT, network.look_up(host, port)).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

/// The addresses of one name.
#[derive(Default)]
struct KnownAddresses {
    addresses: BTreeSet<SocketAddr>,
    outage: OutageLog,
}

impl KnownAddresses {
    fn take(&mut self, host: &str, found: Result<BTreeSet<SocketAddr>, String>) {
        let failed = match found {
            Ok(found) if !found.is_empty() => {
                self.addresses = found;
                if self.outage.note_success() {
                    tracing::info!(host, known = self.addresses.len(), "DNS lookup works again");
                }
                return;
            }
            Ok(_) => "the name has no address".to_owned(),
            Err(error) => error,
        };
        if self.outage.note_failure(&failed) {
            tracing::warn!(
                host,
                error = failed,
                known = self.addresses.len(),
                "DNS lookup failed; keeping the known addresses"
            );
        }
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
        let known = [addresses(&[1]), addresses(&[1, 2])]
            .map(|addresses| KnownAddresses { addresses, ..KnownAddresses::default() });
        let named = named(&endpoints, &known);
        assert_eq!(named.values().map(AsRef::as_ref).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_failed_or_empty_look_up_keeps_the_addresses_known() {
        let mut known = KnownAddresses::default();
        known.take("masker", Ok(addresses(&[1, 2])));
        known.take("masker", Err("broken".to_owned()));
        known.take("masker", Ok(BTreeSet::new()));
        assert_eq!(known.addresses, addresses(&[1, 2]));
        known.take("masker", Ok(addresses(&[3])));
        assert_eq!(known.addresses, addresses(&[3]));
    }
}
