//! The link's settings: where the service downstream is.

use std::time::Duration;

use clap::Args;
use tonic::transport::Uri;

use crate::{BadSettings, TlsSettings, parse_duration};

/// Where the service downstream is, and how much a stream to it may have in work.
#[derive(Args, Clone, Debug)]
pub struct LinkSettings {
    /// Where the service downstream is, such as http://masker:50051, or https:// with TLS; every address that
    /// the name resolves to gets a stream, and has to have a certificate for the name. Several are separated
    /// by commas
    #[arg(
        long,
        env = "VEILPOST_DOWNSTREAM",
        required = true,
        value_delimiter = ',',
        value_name = "URI",
        help_heading = "Downstream"
    )]
    pub downstream: Vec<Uri>,

    /// How often the names are looked up again
    #[arg(long, env = "VEILPOST_RESOLVE_INTERVAL", default_value = "2s", value_parser = parse_duration,
          value_name = "DURATION", help_heading = "Downstream")]
    pub resolve_interval: Duration,

    /// Batches that a stream may have without a receipt; more hide latency, fewer make larger batches
    #[arg(long, env = "VEILPOST_UNRECEIPTED_BATCHES", default_value = "3", value_name = "BATCHES",
          value_parser = clap::value_parser!(u8).range(1..=4), help_heading = "Downstream")]
    pub unreceipted_batches: u8,

    /// How long a stream may owe a receipt before it is replaced and its batches move to other streams. Each
    /// time, a batch gets twice as long, up to 16 times. Longer than usual outages of the database: moving
    /// helps only against a replica that is stuck
    #[arg(long, env = "VEILPOST_RECEIPT_TIMEOUT", default_value = "5m", value_parser = parse_receipt_timeout,
          value_name = "DURATION", help_heading = "Downstream")]
    pub receipt_timeout: Duration,
}

/// A shorter time would replace streams that are merely busy.
fn parse_receipt_timeout(text: &str) -> Result<Duration, String> {
    let timeout = parse_duration(text)?;
    if timeout < Duration::from_secs(1) { Err(format!("`{text}` is less than 1s")) } else { Ok(timeout) }
}

impl LinkSettings {
    /// Host and port of every downstream.
    pub(super) fn endpoints(&self, tls: bool) -> Result<Vec<(String, u16)>, BadSettings> {
        self.downstream.iter().map(|uri| endpoint(uri, tls)).collect()
    }

    /// Checks that a stream could be opened with these settings, without looking anything up.
    ///
    /// # Errors
    ///
    /// When a URI has no scheme, host or port, has a path, or its scheme does not fit the TLS settings; or
    /// when these are incomplete.
    pub fn check(&self, tls: &TlsSettings) -> Result<(), BadSettings> {
        self.endpoints(tls.enabled()?).map(|_| ())
    }
}

fn endpoint(uri: &Uri, tls: bool) -> Result<(String, u16), BadSettings> {
    let scheme = if tls { "https" } else { "http" };
    let bad = |what: &str| BadSettings(format!("--downstream `{uri}` {what}; write {scheme}://host:port"));
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        let what = "--downstream has a user or a password, which no service takes";
        return Err(BadSettings(format!("{what}; write {scheme}://host:port")));
    }
    match uri.scheme_str() {
        Some(given) if given == scheme => {}
        Some("https") => return Err(bad("needs --tls-certificate, --tls-key and --tls-ca")),
        Some("http") => return Err(bad("is plain text, but --tls-certificate is given")),
        Some(_) => return Err(bad("has another scheme")),
        None => return Err(bad("has no scheme")),
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(bad("has a path"));
    }
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| bad("has no host"))?;
    let port = match uri.port_u16() {
        Some(0) => return Err(bad("has port 0, to which nobody can connect")),
        Some(port) => port,
        None if has_port(uri) => return Err(bad("has a port that is not a number between 1 and 65535")),
        None => return Err(bad("has no port")),
    };
    Ok((host.trim_matches(['[', ']']).to_owned(), port))
}

/// Whether something follows the host's colon, a number or not.
fn has_port(uri: &Uri) -> bool {
    let after_host = uri.authority().and_then(|authority| authority.as_str().rsplit(']').next());
    after_host.is_some_and(|text| text.split_once(':').is_some_and(|(_, port)| !port.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(uri: &str) -> Result<(String, u16), String> {
        endpoint(&uri.parse().unwrap(), false).map_err(|error| error.to_string())
    }

    #[test]
    fn a_downstream_is_scheme_host_and_port() {
        assert_eq!(parsed("http://masker:50051"), Ok(("masker".to_owned(), 50051)));
        assert_eq!(parsed("http://[::1]:50051/"), Ok(("::1".to_owned(), 50051)));
    }

    #[test]
    fn the_scheme_must_fit_the_tls_settings() {
        let uri = |text: &str| text.parse().unwrap();
        assert_eq!(endpoint(&uri("https://masker:1"), true).unwrap(), ("masker".to_owned(), 1));
        let missing = endpoint(&uri("https://masker:1"), false).unwrap_err().to_string();
        assert!(missing.contains("needs --tls-certificate"), "{missing}");
        let plain = endpoint(&uri("http://masker:1"), true).unwrap_err().to_string();
        assert!(plain.contains("plain text") && plain.contains("https://host:port"), "{plain}");
    }

    #[test]
    fn a_port_is_between_1_and_65535_and_a_password_is_not_shown() {
        for uri in ["http://masker:65536", "http://[::1]:99999", "http://masker:4294967296"] {
            let refusal = parsed(uri).unwrap_err();
            assert!(refusal.contains("between 1 and 65535"), "{refusal}");
        }
        assert!(parsed("http://masker:0").unwrap_err().contains("port 0"));
        assert!(parsed("http://[::1]").unwrap_err().contains("has no port"));
        let refusal = parsed("http://user:s3cret@masker:50051").unwrap_err();
        assert!(refusal.contains("password") && !refusal.contains("s3cret"), "{refusal}");
    }

    #[test]
    fn any_other_uri_is_refused_with_what_to_write() {
        for uri in ["masker:50051", "http://masker", "ftp://masker:1", "http://masker:1/path", "masker"] {
            let refusal = parsed(uri).unwrap_err();
            assert!(refusal.contains(uri) && refusal.contains("http://host:port"), "{refusal}");
        }
    }
}
