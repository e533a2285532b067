//! Gauges of replicas, which come and go: each is shown only as long as its handle exists.
//!
//! The Prometheus recorder keeps a gauge for the life of the process. With a label for a replica's address,
//! every rollout would add series that nobody updates any more.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

/// The values of all gauges, by the gauge's name and the replica's address.
type Values = BTreeMap<(&'static str, SocketAddr), Weak<AtomicU64>>;

static VALUES: Mutex<Values> = Mutex::new(BTreeMap::new());

/// A gauge of one replica, with the label `address`. Handles of the same name and address share one value.
#[derive(Debug)]
pub(crate) struct ReplicaGauge(Arc<AtomicU64>);

impl ReplicaGauge {
    /// Shows the gauge, at first with 0.
    pub(crate) fn new(name: &'static str, address: SocketAddr) -> Self {
        let mut values = VALUES.lock();
        values.retain(|_, value| value.strong_count() > 0);
        let value = values.get(&(name, address)).and_then(Weak::upgrade).unwrap_or_default();
        values.insert((name, address), Arc::downgrade(&value));
        Self(value)
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// The gauges that have a handle, in Prometheus's text format.
pub(super) fn render() -> String {
    let (mut text, mut family) = (String::new(), "");
    for ((name, address), value) in VALUES.lock().iter() {
        let Some(value) = value.upgrade() else { continue };
        if family != *name {
            family = name;
            // Writing to a string cannot fail.
            let _infallible = writeln!(text, "# TYPE {family} gauge");
        }
        let _infallible =
            writeln!(text, "{family}{{address=\"{address}\"}} {}", value.load(Ordering::Relaxed));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown of one gauge; other tests of this process may have gauges too.
    fn shown(name: &str) -> Vec<String> {
        render().lines().filter(|line| line.contains(name)).map(str::to_owned).collect()
    }

    #[test]
    fn a_replicas_gauge_is_shown_until_its_last_handle_is_gone() {
        let address = |host: u8| SocketAddr::from(([10, 0, 0, host], 1));
        let first = ReplicaGauge::new("load", address(1));
        let second = ReplicaGauge::new("load", address(2));
        let again = ReplicaGauge::new("load", address(1));
        first.set(3);
        second.set(5);
        assert_eq!(
            shown("load"),
            ["# TYPE load gauge", "load{address=\"10.0.0.1:1\"} 3", "load{address=\"10.0.0.2:1\"} 5"]
        );
        drop((first, second));
        assert_eq!(shown("load"), ["# TYPE load gauge", "load{address=\"10.0.0.1:1\"} 3"]);
        drop(again);
        assert!(shown("load").is_empty());
    }
}
