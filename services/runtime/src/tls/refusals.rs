//! Counts refused peers and logs them, with a bound on the log lines so that no stranger can flood the log.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::certificate::{Certificate, printable};
use super::refusal_reason::RefusalReason;
use crate::metrics::TLS_REFUSED;
use crate::telemetry::LineThrottle;

/// One log line per distinct refusal and minute, at most 30 in all.
const WINDOW: Duration = Duration::from_mins(1);
const MAX_LINES: usize = 30;

/// The refusals of one server. An [`OutageLog`](crate::telemetry::OutageLog) would not do here: refusals have
/// no end to report, and strangers choose how many kinds there are.
#[derive(Debug)]
pub(crate) struct Refusals(Mutex<LineThrottle<RefusalKey>>);

impl Refusals {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(LineThrottle::new(WINDOW, MAX_LINES, Instant::now())))
    }

    /// Counts a refusal that the caller logs itself.
    pub(super) fn count(reason: RefusalReason) {
        metrics::counter!(TLS_REFUSED, "reason" => reason.name()).increment(1);
    }

    /// Refuses a connection over a limit; `error` says which.
    pub(crate) fn crowded(&self, peer: SocketAddr, error: &str) {
        self.refused("connection", peer, None, RefusalReason::Crowded, error);
    }

    /// Refuses a connection whose peer begins with TLS, where there is none.
    pub(crate) fn unexpected_tls(&self, peer: SocketAddr) {
        let error = "the peer speaks TLS and this port does not: give --tls-certificate, --tls-key and --tls-ca, or \
                     write http:// at the peer";
        self.refused("connection", peer, None, RefusalReason::UnexpectedTls, error);
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
            tracing::debug!(%peer, error, "peer closed the connection during the handshake");
            return;
        }
        let key = RefusalKey { peer: peer.ip(), reason, certificate };
        let admitted = self.0.lock().admit(&key, Instant::now());
        if let Some(suppressed) = admitted {
            let (certificate, reason, error) = (key.certificate, reason.name(), printable(error));
            tracing::warn!(%peer, certificate, reason, error, suppressed, "{what} refused");
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
