//! Says who was refused and why: every refusal is counted, and so many have a log line that no stranger can flood the log.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::certificate::{Certificate, printable};
use super::refusal::Reason;

/// Equal refusals have one line in so long, and all together have at most so many.
const WINDOW: Duration = Duration::from_mins(1);
const LINES: usize = 30;

pub(super) const REFUSED: &str = "veilpost_tls_refused_total";

#[derive(Debug)]
pub(crate) struct Refusals(Mutex<Throttle>);

impl Refusals {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Throttle::new(Instant::now())))
    }

    /// Counts a refusal that is told otherwise.
    pub(super) fn count(reason: Reason) {
        metrics::counter!(REFUSED, "reason" => reason.name()).increment(1);
    }

    /// Tells of a connection that there was no room for.
    pub(crate) fn crowded(&self, peer: SocketAddr, error: &str) {
        self.refused("connection", peer, None, Reason::Crowded, error);
    }

    /// Tells of a connection that ended before anything was known of its peer.
    pub(crate) fn unheard(&self, peer: SocketAddr, error: &io::Error) {
        self.refused("connection", peer, None, Reason::of(error), &error.to_string());
    }

    /// Counts the refusal, and logs it unless there have been like ones.
    pub(super) fn refused(
        &self,
        what: &'static str,
        peer: SocketAddr,
        certificate: Option<&Certificate>,
        reason: Reason,
        error: &str,
    ) {
        Self::count(reason);
        let certificate = certificate.map_or("none".to_owned(), ToString::to_string);
        if reason == Reason::Left {
            tracing::debug!(%peer, error, "a connection ended before its handshake had");
            return;
        }
        let like = Like { peer: peer.ip(), reason, certificate };
        let admitted = self.0.lock().unwrap_or_else(PoisonError::into_inner).admit(&like, Instant::now());
        if let Some(unsaid) = admitted {
            let (certificate, reason, error) = (like.certificate, reason.name(), printable(error));
            tracing::warn!(%peer, certificate, reason, error, unsaid, "{what} refused");
        }
    }
}

/// What makes refusals alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Like {
    peer: IpAddr,
    reason: Reason,
    certificate: String,
}

#[derive(Debug)]
struct Throttle {
    since: Instant,
    said: HashSet<Like>,
    unsaid: u64,
}

impl Throttle {
    fn new(now: Instant) -> Self {
        Self { since: now, said: HashSet::new(), unsaid: 0 }
    }

    /// Whether a line is due, and how many have been left out since the last one.
    fn admit(&mut self, like: &Like, now: Instant) -> Option<u64> {
        if now.duration_since(self.since) >= WINDOW {
            self.since = now;
            self.said.clear();
        }
        if self.said.len() >= LINES || !self.said.insert(like.clone()) {
            self.unsaid += 1;
            return None;
        }
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn like(peer: u32, reason: Reason) -> Like {
        Like { peer: IpAddr::from(peer.to_be_bytes()), reason, certificate: "none".to_owned() }
    }

    #[test]
    fn equal_refusals_have_one_line_a_minute_and_the_next_one_counts_them() {
        let begin = Instant::now();
        let mut throttle = Throttle::new(begin);
        assert_eq!(throttle.admit(&like(1, Reason::Expired), begin), Some(0));
        assert_eq!(throttle.admit(&like(1, Reason::Expired), begin), None);
        assert_eq!(throttle.admit(&like(1, Reason::NotTls), begin), Some(1), "another reason");
        assert_eq!(throttle.admit(&like(2, Reason::NotTls), begin), Some(0), "another peer");
        assert_eq!(throttle.admit(&like(1, Reason::Expired), begin + WINDOW), Some(0));
    }

    #[test]
    fn a_flood_from_many_addresses_has_a_bounded_number_of_lines() {
        let begin = Instant::now();
        let mut throttle = Throttle::new(begin);
        let lines = (0..100_000).filter(|peer| throttle.admit(&like(*peer, Reason::NotTls), begin).is_some());
        assert_eq!(lines.count(), LINES);
        assert!(throttle.said.len() <= LINES);
    }
}
