//! This service's identity towards the others: the last usable contents of its TLS files.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::credentials::{Credentials, TlsFiles};
use crate::metrics::{TLS_CERTIFICATE_EXPIRY, TLS_REFUSED};
use crate::telemetry::OutageLog;
use crate::{BadSettings, FileStamps, Lifecycle};

/// How often the files are checked for a change.
const INTERVAL: Duration = Duration::from_secs(2);

/// Certificate, key and CAs as last read; clones share them.
///
/// [`TlsSettings::open`](crate::TlsSettings::open) makes one and keeps it up to date. Connections that the
/// new files would refuse are closed.
#[derive(Clone, Debug)]
pub struct Identity(Arc<IdentityState>);

#[derive(Debug)]
struct IdentityState {
    files: TlsFiles,
    current: watch::Sender<Arc<Credentials>>,
    /// The files that `current` was read from; `None` when they could not be examined. Locked while files are
    /// read.
    stamps: Mutex<Option<FileStamps>>,
    unusable: OutageLog,
    invalid: OutageLog,
}

/// A server's identity, and the callers that it admits; [`serve_grpc`](crate::serve_grpc) takes one.
#[derive(Debug)]
pub struct Admission {
    pub(crate) identity: Identity,
    pub(crate) callers: Vec<String>,
}

impl Identity {
    /// Reads the files for the first time.
    ///
    /// # Errors
    ///
    /// [`BadSettings`] when they cannot be used.
    pub(super) fn open(files: TlsFiles) -> anyhow::Result<Self> {
        metrics::describe_gauge!(
            TLS_CERTIFICATE_EXPIRY,
            "When this service's certificate expires, in seconds since 1970"
        );
        metrics::describe_counter!(TLS_REFUSED, "Connections and calls refused, by reason");
        let stamps = FileStamps::of(files.all()).ok();
        let credentials = Credentials::load(&files)
            .map_err(|error| BadSettings(format!("{error:#}")))
            .context("TLS cannot be set up")?;
        let (current, _) = watch::channel(Arc::new(credentials));
        let identity = Self(Arc::new(IdentityState {
            files,
            current,
            stamps: Mutex::new(stamps),
            unusable: OutageLog::new(),
            invalid: OutageLog::new(),
        }));
        identity.announce("certificate read");
        Ok(identity)
    }

    /// Admits the peers whose certificate has one of `callers` among its alternative names, as a DNS name or
    /// a URI.
    ///
    /// # Errors
    ///
    /// When one of the names is empty.
    pub fn admitting(self, callers: &[String]) -> Result<Admission, BadSettings> {
        if callers.iter().any(|caller| caller.trim().is_empty()) {
            return Err(BadSettings("--tls-callers has an empty name".to_owned()));
        }
        Ok(Admission { identity: self, callers: callers.to_vec() })
    }

    pub(super) fn current(&self) -> Arc<Credentials> {
        Arc::clone(&self.0.current.borrow())
    }

    /// Changes when the files have been replaced.
    pub(super) fn changes(&self) -> watch::Receiver<Arc<Credentials>> {
        self.0.current.subscribe()
    }

    /// Checks the files every two seconds, until the service drains.
    pub(super) async fn keep_fresh(self, life: Lifecycle) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => self.refresh().await?,
                () = life.draining() => return Ok(()),
            }
        }
    }

    /// Takes over files that were replaced since the last check. Files that cannot be used, perhaps because
    /// they are half written, are logged, and the last usable contents stay.
    pub(super) async fn refresh(&self) -> anyhow::Result<()> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.check()).await.context("reading the certificates panicked")
    }

    fn check(&self) {
        let mut stamps = self.0.stamps.lock();
        self.check_validity();
        // Taken before the files are read, so that the next check finds what changes meanwhile.
        let found = FileStamps::of(self.0.files.all()).ok();
        if found.is_some() && found == *stamps {
            return;
        }
        match Credentials::load(&self.0.files) {
            Ok(credentials) => {
                *stamps = found;
                // "certificate replaced" is the line that says so.
                let _replaced = self.0.unusable.note_success();
                if !credentials.is_same(&self.current()) {
                    self.0.current.send_replace(Arc::new(credentials));
                    self.announce("certificate replaced");
                }
            }
            Err(error) => {
                let error = format!("{error:#}");
                if self.0.unusable.note_failure(&error) {
                    tracing::warn!(error, "new certificate files cannot be used; keeping the last good ones");
                }
            }
        }
    }

    fn check_validity(&self) {
        let current = self.current();
        let Some(why) = current.invalid_because(SystemTime::now()) else {
            // "certificate replaced" is the line that says so.
            let _replaced = self.0.invalid.note_success();
            return;
        };
        if self.0.invalid.note_failure(why) {
            let certificate = current.certificate.to_string();
            tracing::error!(
                certificate,
                "this service's own certificate {why}: peers refuse it until it is replaced"
            );
        }
    }

    fn announce(&self, what: &'static str) {
        let current = self.current();
        metrics::gauge!(TLS_CERTIFICATE_EXPIRY).set(current.certificate.expires());
        let days = current.certificate.remaining(SystemTime::now()).unwrap_or_default().as_secs() / 86_400;
        tracing::info!(certificate = %current.certificate, days_left = days, "{what}");
    }
}
