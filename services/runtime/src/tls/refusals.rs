//! Counts refused peers and logs them, with a bound on the log lines so that no stranger can flood the log.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::certificate::{Certificate, printable};
use super::refusal_reason::RefusalReason;
use crate::metrics::TLS_REFUSED;

/// One log line per distinct refusal and minute, at most 30 in all.
const WINDOW: Duration = Duration::from_mins(1);
const MAX_LINES: usize = 30;

/// The refusals of one server. An [`OutageLog`](crate::telemetry::OutageLog) would not do here: refusals have
/// no end to report, and strangers choose how many kinds there are.
#[derive(Debug)]
pub(crate) struct Refusals(Mutex<RefusalThrottle>);

impl Refusals {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(RefusalThrottle::new(Instant::now())))
    }

    /// Counts a refusal that the caller logs itself.
    pub(super) fn count(reason: RefusalReason) {
        metrics::counter!(TLS_REFUSED, "reason" => reason.name()).increment(1);
    }

    /// Refuses a connection over a limit; `error` says which.
    pub(crate) fn crowded(&self, peer: SocketAddr, error: &str) {
        self.refused("connection", peer, None, RefusalReason::Crowded, error);
    }

    /// Refuses a connection that ended before its peer had sent anything.
    pub(crate) fn unheard(&self, peer: SocketAddr, error: &io::Error) {
        self.refused("connection", peer, None, RefusalReason::of(error), &error.to_string());
    }

    /// Counts the refusal, and logs it unless an equal one was logged within the last minute.
    pub(super) fn refused(
        &self,
        what: &'static str,
        peer: SocketAddr,
        certificate: Option<&Certificate>,
        reason: RefusalReason,
        error: &str,
    ) {
        Self::count(reason);
        let certificate = certificate.map_or("none".to_owned(), ToString::to_string);
        if reason == RefusalReason::Left {
            tracing::debug!(%peer, error, "a connection ended before its handshake had");
            return;
        }
        let key = RefusalKey { peer: peer.ip(), reason, certificate };
        let admitted = self.0.lock().admit(&key, Instant::now());
        if let Some(unsaid) = admitted {
            let (certificate, reason, error) = (key.certificate, reason.name(), printable(error));
            tracing::warn!(%peer, certificate, reason, error, unsaid, "{what} refused");
        }
    }
}

/// Refusals with equal keys are the same refusal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct RefusalKey {
    peer: IpAddr,
    reason: RefusalReason,
    certificate: String,
}

#[derive(Debug)]
struct RefusalThrottle {
    since: Instant,
    logged: HashSet<RefusalKey>,
    unsaid: u64,
}

impl RefusalThrottle {
    fn new(now: Instant) -> Self {
        Self { since: now, logged: HashSet::new(), unsaid: 0 }
    }

    /// Some when a line is due, with the number of refusals that have had none since the last line.
    fn admit(&mut self, key: &RefusalKey, now: Instant) -> Option<u64> {
        if now.duration_since(self.since) >= WINDOW {
            self.since = now;
            self.logged.clear();
        }
        if self.logged.len() >= MAX_LINES || !self.logged.insert(key.clone()) {
            self.unsaid += 1;
            return None;
        }
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(peer: u32, reason: RefusalReason) -> RefusalKey {
        RefusalKey { peer: IpAddr::from(peer.to_be_bytes()), reason, certificate: "none".to_owned() }
    }

    #[test]
    fn equal_refusals_have_one_line_a_minute_and_the_next_line_counts_them() {
        let begin = Instant::now();
        let mut throttle = RefusalThrottle::new(begin);
        assert_eq!(throttle.admit(&key(1, RefusalReason::Expired), begin), Some(0));
        assert_eq!(throttle.admit(&key(1, RefusalReason::Expired), begin), None);
        assert_eq!(throttle.admit(&key(1, RefusalReason::NotTls), begin), Some(1), "another reason");
        assert_eq!(throttle.admit(&key(2, RefusalReason::NotTls), begin), Some(0), "another peer");
        assert_eq!(throttle.admit(&key(1, RefusalReason::Expired), begin + WINDOW), Some(0));
    }

    #[test]
    fn a_flood_from_many_addresses_writes_a_bounded_number_of_lines() {
        let begin = Instant::now();
        let mut throttle = RefusalThrottle::new(begin);
        let lines =
            (0..100_000).filter(|peer| throttle.admit(&key(*peer, RefusalReason::NotTls), begin).is_some());
        assert_eq!(lines.count(), MAX_LINES);
        assert!(throttle.logged.len() <= MAX_LINES);
    }
}
