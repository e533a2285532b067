//! How long a connection may go on: no longer than the certificates on both of its ends, and not past a change of files that
//! would refuse it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rand::RngExt;
use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::sync::watch;

use super::certificate::Certificate;
use super::credentials::Credentials;
use super::refusal::Reason;

/// The wall clock may be set meanwhile: so often it is looked at.
const LOOK: Duration = Duration::from_secs(30);

/// A client opens its stream anew so long before a certificate expires, or before a tenth of what is left.
const AHEAD: Duration = Duration::from_secs(10);

/// A client leaves its streams one by one, within so long.
const SPREAD: Duration = Duration::from_secs(2);

/// A stream lasts at least so long.
const SHORTEST: Duration = Duration::from_secs(1);

/// For the server: resolves when the client's chain is no longer to be trusted, with the reason.
pub(super) async fn distrust(
    certificate: Certificate,
    chain: Vec<CertificateDer<'static>>,
    mut files: watch::Receiver<Arc<Credentials>>,
) -> (Reason, String) {
    loop {
        let Some(left) = certificate.remaining(SystemTime::now()) else {
            return (Reason::Expired, "the certificate has expired meanwhile".to_owned());
        };
        tokio::select! {
            () = tokio::time::sleep(left.min(LOOK)) => {}
            change = files.changed() => {
                if change.is_err() {
                    std::future::pending::<()>().await;
                }
                let credentials = Arc::clone(&files.borrow_and_update());
                if let Err(error) = verify(&credentials, &chain) {
                    return (Reason::of_tls(&error), format!("no longer accepted since the CA file was replaced: {error}"));
                }
            }
        }
    }
}

fn verify(credentials: &Credentials, chain: &[CertificateDer<'static>]) -> Result<(), rustls::Error> {
    let (first, rest) = chain.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
    credentials.clients.verify_client_cert(first, rest, UnixTime::now()).map(|_| ())
}

/// For the client: resolves when the stream is to be opened anew, because the files were replaced or because a certificate on
/// one of its ends is about to expire.
pub(crate) async fn renewal(
    ends: [Certificate; 2],
    mut changes: watch::Receiver<Arc<Credentials>>,
) -> &'static str {
    let due = async {
        loop {
            let now = SystemTime::now();
            let left =
                ends.iter().map(|end| end.remaining(now).unwrap_or_default()).min().unwrap_or_default();
            let wait = left.saturating_sub(AHEAD.min(left / 10));
            tokio::time::sleep(wait.clamp(SHORTEST, LOOK)).await;
            if wait <= LOOK {
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
