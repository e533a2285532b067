//! Where the database is: from a URL, or from a file with one that is read again for each connection.

use std::path::{Path, PathBuf};
use std::sync::Once;

use parking_lot::RwLock;
use secrecy::{ExposeSecret, SecretString};
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use veilpost_runtime::telemetry::OutageLog;
use veilpost_runtime::{BadSettings, secret};

use super::DbError;
use super::tls::Tls;
use super::url::DatabaseUrl;
use crate::metrics;

/// Reads a database's URL as the writer does, for tools that connect themselves.
///
/// # Errors
///
/// When the URL cannot be used. The text says what is wrong, and shows nothing that may be a secret.
pub fn connect_options(url: &str) -> anyhow::Result<PgConnectOptions> {
    let url = DatabaseUrl::parse(url)?;
    url.tls().apply(url.options()?)
}

pub(super) struct Address {
    /// The file that the URL comes from.
    file: Option<PathBuf>,
    current: RwLock<Known>,
    outage: OutageLog,
    /// Warns once that nobody verifies whose the database is.
    warn_of_tls: Once,
}

struct Known {
    text: SecretString,
    url: DatabaseUrl,
    options: PgConnectOptions,
}

impl Address {
    pub(super) fn given(text: &SecretString) -> anyhow::Result<Self> {
        Self::new(text, None)
    }

    pub(super) fn in_file(file: &Path) -> anyhow::Result<Self> {
        Self::new(&read(file)?, Some(file.to_owned()))
    }

    fn new(text: &SecretString, file: Option<PathBuf>) -> anyhow::Result<Self> {
        let known = Known::parse(text)?;
        let current = RwLock::new(known);
        Ok(Self { file, current, outage: OutageLog::new(), warn_of_tls: Once::new() })
    }

    /// For a new connection. A file that has been replaced is read; when it cannot be used, the URL that was
    /// read before stays in use.
    pub(super) fn options(&self) -> Result<(PgConnectOptions, Tls), DbError> {
        if let Some(file) = &self.file {
            self.read_again(file);
        }
        let known = self.current.read();
        self.warn_of_tls.call_once(|| known.warn_of_tls());
        let tls = known.url.tls().clone();
        let options = tls.apply(known.options.clone());
        Ok((options.map_err(|error| DbError::Refused(format!("{error:#}")))?, tls))
    }

    fn read_again(&self, file: &Path) {
        match read(file).and_then(|text| self.changed(&text)) {
            Ok(changed) => {
                metrics::database_url_stale(false);
                if self.outage.note_success() {
                    tracing::info!("DATABASE_URL_FILE can be used again");
                }
                if let Some(known) = changed {
                    *self.current.write() = known;
                    tracing::info!("read a new URL from DATABASE_URL_FILE; new connections use it");
                }
            }
            Err(error) => {
                metrics::database_url_stale(true);
                let error = format!("{error:#}");
                if self.outage.note_failure(&error) {
                    tracing::warn!(
                        error,
                        "the new DATABASE_URL_FILE cannot be used; the URL before it stays in use"
                    );
                }
            }
        }
    }

    fn changed(&self, text: &SecretString) -> anyhow::Result<Option<Known>> {
        let is_known = self.current.read().text.expose_secret() == text.expose_secret();
        if is_known { Ok(None) } else { Known::parse(text).map(Some) }
    }
}

impl Known {
    /// No message shows a part of the URL that may be a secret.
    fn parse(text: &SecretString) -> anyhow::Result<Self> {
        let refused = |why: String| BadSettings(format!("DATABASE_URL cannot be used: {why}"));
        let url = DatabaseUrl::parse(text.expose_secret()).map_err(|bad| refused(bad.to_string()))?;
        let options = url.options().map_err(|bad| refused(bad.to_string()))?;
        let options = options
            .application_name("veilpost-writer")
            // Poolers refuse it, and no answer of Postgres has a floating-point number in it.
            .extra_float_digits(None)
            .disable_statement_logging();
        // A file of CAs that is missing or empty is found out at the start.
        url.tls().apply(options.clone()).map_err(|error| refused(format!("{error:#}")))?;
        Ok(Self { text: text.clone(), url, options })
    }

    fn warn_of_tls(&self) {
        if self.url.is_remote(&self.options) && !self.url.tls().verifies() {
            tracing::warn!(
                sslmode = self.url.tls().mode.name(),
                "nobody verifies whose the database is: passwords and rows may go to somebody else; add \
                 sslmode=verify-full to the database's URL, and sslrootcert=FILE for a CA of your own"
            );
        }
    }
}

fn read(file: &Path) -> anyhow::Result<SecretString> {
    let text = secret(None, Some(file), "DATABASE_URL")?;
    text.ok_or_else(|| BadSettings("DATABASE_URL_FILE is empty".to_owned()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_of(address: &Address) -> String {
        address.options().unwrap().0.get_host().to_owned()
    }

    #[test]
    fn a_replaced_file_counts_for_the_next_connection_and_a_broken_one_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("url");
        let replace = |text: &str| {
            // As Kubernetes does: a link is exchanged for another one.
            let target = directory.path().join(format!("{}", text.len()));
            std::fs::write(&target, text).unwrap();
            let link = directory.path().join("next");
            std::os::unix::fs::symlink(&target, &link).unwrap();
            std::fs::rename(&link, &file).unwrap();
        };
        replace("postgres://u:s3cret@one/d\n");
        let address = Address::in_file(&file).unwrap();
        assert_eq!(host_of(&address), "one");
        for broken in ["", "postgres://u:s3cret@two:port/d"] {
            replace(broken);
            assert_eq!(host_of(&address), "one", "{broken}");
        }
        std::fs::remove_file(&file).unwrap();
        assert_eq!(host_of(&address), "one", "without a file");
        replace("postgres://u:s3cret@three/name");
        assert_eq!(host_of(&address), "three");
    }
}
