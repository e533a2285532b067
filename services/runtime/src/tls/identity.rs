//! Who this service is to the others: the last good reading of its files.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use tokio::sync::watch;

use super::credentials::{Credentials, Files};
use super::refusals::REFUSED;
use crate::{BadSettings, Lifecycle};

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(2);

const EXPIRY: &str = "veilpost_tls_certificate_expiry_timestamp_seconds";

/// Certificate, key and CAs as last read. Clones share them.
#[derive(Clone, Debug)]
pub struct Identity(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    files: Files,
    current: watch::Sender<Arc<Credentials>>,
    watched: Mutex<Watched>,
}

/// What has been seen of the files, and said of them.
#[derive(Debug, Default)]
struct Watched {
    stamps: Option<[Stamp; 3]>,
    complaint: Option<String>,
    unfit: Option<&'static str>,
}

/// Tells a file from another one that took its place, and from itself before it was written.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A server's identity, and whom it admits.
#[derive(Debug)]
pub struct Admission {
    pub(crate) identity: Identity,
    pub(crate) callers: Vec<String>,
}

impl Identity {
    /// Files that cannot be used are [`BadSettings`].
    pub(super) fn open(files: Files) -> anyhow::Result<Self> {
        metrics::describe_gauge!(EXPIRY, "When this service's certificate expires, in seconds since 1970");
        metrics::describe_counter!(REFUSED, "Connections and calls refused, by reason");
        let stamps = Stamp::of(&files).ok();
        let credentials = Credentials::load(&files)
            .map_err(|error| BadSettings(format!("{error:#}")))
            .context("TLS cannot be set up")?;
        let watched = Watched { stamps, ..Watched::default() };
        let (current, _) = watch::channel(Arc::new(credentials));
        let identity = Self(Arc::new(Shared { files, current, watched: Mutex::new(watched) }));
        identity.announce("certificate read");
        Ok(identity)
    }

    /// Admits peers to a server whose certificates name one of `callers`: a DNS name or a URI among the alternative names.
    pub fn admitting(self, callers: &[String]) -> Result<Admission, BadSettings> {
        if callers.iter().any(|caller| caller.trim().is_empty()) {
            return Err(BadSettings("--tls-callers has an empty name".to_owned()));
        }
        Ok(Admission { identity: self, callers: callers.to_vec() })
    }

    pub(super) fn current(&self) -> Arc<Credentials> {
        Arc::clone(&self.0.current.borrow())
    }

    /// Wakes whoever holds it when the files have been replaced.
    pub(super) fn changes(&self) -> watch::Receiver<Arc<Credentials>> {
        self.0.current.subscribe()
    }

    /// Looks at the files again and again, until the service drains.
    pub(super) async fn keep_fresh(self, life: Lifecycle) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => self.refresh().await?,
                () = life.draining() => return Ok(()),
            }
        }
    }

    /// Takes over files that were replaced since they were last looked at. What cannot be used, perhaps because it is only
    /// half written, is complained of once, and the last good reading stays.
    pub(super) async fn refresh(&self) -> anyhow::Result<()> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.look()).await.context("reading the certificates panicked")
    }

    fn look(&self) {
        let mut watched = self.0.watched.lock().unwrap_or_else(PoisonError::into_inner);
        self.complain_if_unfit(&mut watched);
        // Taken before the files are read: what changes meanwhile is found the next time.
        let stamps = Stamp::of(&self.0.files).ok();
        if stamps.is_some() && stamps == watched.stamps {
            return;
        }
        match Credentials::load(&self.0.files) {
            Ok(credentials) => {
                watched.stamps = stamps;
                watched.complaint = None;
                if !credentials.is_same(&self.current()) {
                    self.0.current.send_replace(Arc::new(credentials));
                    self.announce("certificate replaced");
                }
            }
            Err(error) => {
                let complaint = format!("{error:#}");
                if watched.complaint.as_ref() != Some(&complaint) {
                    tracing::warn!(
                        error = complaint,
                        "new certificate files cannot be used; keeping the last good ones"
                    );
                }
                watched.complaint = Some(complaint);
            }
        }
    }

    fn complain_if_unfit(&self, watched: &mut Watched) {
        let current = self.current();
        let unfit = current.unfit(SystemTime::now());
        if let Some(why) = unfit
            && watched.unfit != unfit
        {
            let certificate = current.certificate.to_string();
            tracing::error!(
                certificate,
                "this service's own certificate {why}: peers refuse it until it is replaced"
            );
        }
        watched.unfit = unfit;
    }

    fn announce(&self, what: &'static str) {
        let current = self.current();
        metrics::gauge!(EXPIRY).set(current.certificate.expires());
        let days = current.certificate.remaining(SystemTime::now()).unwrap_or_default().as_secs() / 86_400;
        tracing::info!(certificate = %current.certificate, days_left = days, "{what}");
    }
}

impl Stamp {
    fn of(files: &Files) -> io::Result<[Self; 3]> {
        let stamp = |file: &Path| std::fs::metadata(file).map(Self::from);
        Ok([stamp(&files.certificate)?, stamp(&files.key)?, stamp(&files.ca)?])
    }
}

impl From<Metadata> for Stamp {
    fn from(file: Metadata) -> Self {
        Self {
            inode: (file.dev(), file.ino()),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}
