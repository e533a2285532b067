//! How long a connection may last: it is closed when either certificate expires, or when new files would
//! refuse it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rand::RngExt;
use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::sync::watch;

use super::certificate::Certificate;
use super::credentials::Credentials;
use super::refusal_reason::RefusalReason;

/// How often the wall clock is read: somebody may set it at any time.
const CLOCK_INTERVAL: Duration = Duration::from_secs(30);

/// How long before a certificate expires a client replaces its stream, unless a tenth of the remaining time
/// is shorter.
const AHEAD: Duration = Duration::from_secs(10);

/// A client replaces its streams at random moments within this time, not all at once.
const SPREAD: Duration = Duration::from_secs(2);

/// A stream lasts at least this long, even with an expired certificate.
const SHORTEST: Duration = Duration::from_secs(1);

/// For a server: resolves, with the reason, as soon as the client's chain can no longer be trusted.
pub(super) async fn untrusted_from_now(
    certificate: Certificate,
    chain: Vec<CertificateDer<'static>>,
    mut files: watch::Receiver<Arc<Credentials>>,
) -> (RefusalReason, String) {
    loop {
        let Some(left) = certificate.remaining(SystemTime::now()) else {
            return (RefusalReason::Expired, "the certificate has expired meanwhile".to_owned());
        };
        tokio::select! {
            () = tokio::time::sleep(left.min(CLOCK_INTERVAL)) => {}
            change = files.changed() => {
                if change.is_err() {
                    std::future::pending::<()>().await;
                }
                let credentials = Arc::clone(&files.borrow_and_update());
                if let Err(error) = verify(&credentials, &chain) {
                    return (RefusalReason::of_tls(&error), format!("no longer accepted since the CA file was replaced: {error}"));
                }
            }
        }
    }
}

fn verify(credentials: &Credentials, chain: &[CertificateDer<'static>]) -> Result<(), rustls::Error> {
    let (first, rest) = chain.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
    credentials.clients.verify_client_cert(first, rest, UnixTime::now()).map(|_| ())
}

/// For a client: resolves, with the reason, when the stream should be replaced: the files have changed, or
/// one of the two certificates is about to expire.
pub(super) async fn renewal_due(
    ends: [Certificate; 2],
    mut changes: watch::Receiver<Arc<Credentials>>,
) -> &'static str {
    let due = async {
        loop {
            let now = SystemTime::now();
            let left =
                ends.iter().map(|end| end.remaining(now).unwrap_or_default()).min().unwrap_or_default();
            let wait = left.saturating_sub(AHEAD.min(left / 10));
            tokio::time::sleep(wait.clamp(SHORTEST, CLOCK_INTERVAL)).await;
            if wait <= CLOCK_INTERVAL {
                return;
            }
        }
    };
    tokio::select! {
        () = due => "a certificate is about to expire",
        Ok(()) = changes.changed() => {
            let pause = SPREAD.mul_f64(rand::rng().random_range(0.0..1.0));
            tokio::time::sleep(pause).await;
            "the certificate files were replaced"
        }
    }
}
