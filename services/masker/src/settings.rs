//! The masker's command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Command, CommandFactory, FromArgMatches, Parser};
use secrecy::SecretString;
use veilpost_runtime::{
    BadSettings, CommonSettings, LinkSettings, TlsSettings, parse_address, parse_bytes, secret,
};

use crate::transform::HmacKeys;

const HMAC_KEYS: &str = "VEILPOST_HMAC_KEYS";

/// Masks personal data in records on their way from the readers to the writers
#[derive(Parser, Clone, Debug)]
#[command(
    name = "veilpost-masker",
    version = veilpost_version::VERSION,
    after_help = "The keys of hmac-sha512 come from --hmac-keys-file or from the variable VEILPOST_HMAC_KEYS: \
                  one line of id=hex for each key, at least 32 bytes long, made with `openssl rand -hex 32`. \
                  There is no flag for keys, because other users of the machine could read it."
)]
pub struct Settings {
    #[command(flatten)]
    pub policy: PolicySettings,

    /// File with the keys of hmac-sha512, one line of id=hex for each; # begins a comment. Read again when it
    /// is replaced
    #[arg(long, env = "VEILPOST_HMAC_KEYS_FILE", value_name = "FILE", help_heading = "Masking")]
    pub hmac_keys_file: Option<PathBuf>,

    /// Where readers connect
    #[arg(
        long,
        env = "VEILPOST_LISTEN_ADDRESS",
        value_parser = parse_address,
        default_value = "127.0.0.1:50051",
        value_name = "ADDRESS",
        help_heading = "Serving"
    )]
    pub listen_address: SocketAddr,

    /// Where health and metrics are served
    #[arg(
        long,
        env = "VEILPOST_ADMIN_ADDRESS",
        value_parser = parse_address,
        default_value = "127.0.0.1:9102",
        value_name = "ADDRESS",
        help_heading = "Serving"
    )]
    pub admin_address: SocketAddr,

    /// Memory for batches in work, over all readers; while it is used up, readers wait
    #[arg(
        long,
        env = "VEILPOST_IN_FLIGHT_BYTES",
        default_value = "8MiB",
        value_parser = parse_in_flight_bytes,
        value_name = "BYTES",
        help_heading = "Serving"
    )]
    pub in_flight_bytes: usize,

    #[command(flatten)]
    pub tls: TlsSettings,

    /// Callers that may send records. A caller's certificate must have one of these names as a subject
    /// alternative name: a DNS name, or a URI such as spiffe://cluster.local/ns/veilpost/sa/reader. Separate
    /// several with commas
    #[arg(
        long,
        env = "VEILPOST_TLS_CALLERS",
        default_value = "veilpost-reader",
        value_delimiter = ',',
        value_name = "NAME",
        help_heading = "TLS"
    )]
    pub tls_callers: Vec<String>,

    #[command(flatten)]
    pub link: LinkSettings,

    #[command(flatten)]
    pub common: CommonSettings,
}

/// The settings that `check` and serving share.
#[derive(Args, Clone, Debug)]
pub struct PolicySettings {
    /// Policy file: which field becomes which column, and how; read again when it is replaced [default: the
    /// built-in policy for user_logins]
    #[arg(long, env = "VEILPOST_POLICY", value_name = "FILE", global = true, help_heading = "Masking")]
    pub policy: Option<PathBuf>,
}

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Invocation {
    Serve(Box<Settings>),
    /// Read a policy and show what it does.
    Check(PolicySettings),
}

impl Invocation {
    /// Reads the arguments and the process's variables. Ends the process with exit status 2 when they are
    /// wrong.
    pub(crate) fn parse_from(arguments: impl IntoIterator<Item = OsString>) -> Self {
        Self::from_arguments(arguments).unwrap_or_else(|error| error.exit())
    }

    fn from_arguments<T: Into<OsString> + Clone>(
        arguments: impl IntoIterator<Item = T>,
    ) -> Result<Self, clap::Error> {
        let matches = command().try_get_matches_from(arguments)?;
        match matches.subcommand() {
            Some((_, check)) => PolicySettings::from_arg_matches(check).map(Self::Check),
            None => Settings::from_arg_matches(&matches).map(|settings| Self::Serve(Box::new(settings))),
        }
    }
}

fn command() -> Command {
    let check = Command::new("check")
        .about("Read a policy and show what it does; the exit status is 2 when the policy is wrong");
    Settings::command().subcommand(check).subcommand_negates_reqs(true)
}

impl Settings {
    /// The keys of the file or of the variable; none when there is neither.
    ///
    /// # Errors
    /// When both are given, the file cannot be read, or a line is wrong. The error never shows a key.
    pub fn hmac_keys(&self) -> anyhow::Result<HmacKeys> {
        let variable = match std::env::var(HMAC_KEYS) {
            Ok(keys) => Some(SecretString::from(keys)),
            Err(std::env::VarError::NotPresent) => None,
            Err(std::env::VarError::NotUnicode(_)) => {
                return Err(BadSettings(format!("{HMAC_KEYS} is not UTF-8")).into());
            }
        };
        let keys = secret(variable, self.hmac_keys_file.as_deref(), HMAC_KEYS)?;
        let origin =
            self.hmac_keys_file.as_ref().map_or(HMAC_KEYS.to_owned(), |file| file.display().to_string());
        Ok(keys.map(|keys| HmacKeys::parse(&keys, &origin)).transpose()?.unwrap_or_default())
    }
}

/// The largest batch must fit, and a byte budget ends at 4 GiB.
fn parse_in_flight_bytes(text: &str) -> Result<usize, String> {
    let bytes = parse_bytes(text)?;
    if bytes < veilpost_proto::MAX_BATCH_BYTES {
        return Err(format!("`{text}` is less than the largest batch; give at least 3MiB"));
    }
    if u32::try_from(bytes).is_err() {
        return Err(format!("`{text}` is 4 GiB or more"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Invocation, String> {
        let all = std::iter::once("veilpost-masker").chain(arguments.iter().copied());
        Invocation::from_arguments(all).map_err(|error| error.to_string())
    }

    #[test]
    fn serving_needs_a_downstream_and_checking_does_not() {
        assert!(parse(&[]).unwrap_err().contains("--downstream"));
        assert!(matches!(parse(&["--downstream", "http://writer:50052"]), Ok(Invocation::Serve(_))));
        for arguments in [["check", "--policy", "p.toml"], ["--policy", "p.toml", "check"]] {
            let Ok(Invocation::Check(check)) = parse(&arguments) else { panic!("not a check") };
            assert_eq!(check.policy, Some(PathBuf::from("p.toml")));
        }
        assert!(parse(&["check", "--downstream", "http://writer:1"]).is_err());
    }

    #[test]
    fn there_is_no_flag_for_keys_themselves() {
        assert!(parse(&["--downstream", "http://w:1", "--hmac-keys", "k1=00"]).is_err());
    }

    #[test]
    fn the_memory_holds_a_whole_batch() {
        assert_eq!(parse_in_flight_bytes("3MiB"), Ok(3 << 20));
        assert!(parse_in_flight_bytes("2MiB").is_err());
        assert!(parse_in_flight_bytes("4GiB").is_err());
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
