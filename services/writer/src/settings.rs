//! The writer's settings.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use secrecy::SecretString;
use veilpost_runtime::{
    BadSettings, CommonSettings, TlsSettings, parse_address, parse_bytes, parse_duration,
};

use crate::commit::CommitLimits;
use crate::database::Database;
use crate::migrate::DEFAULT_TABLE;

/// Veilpost's writer: stores masked records in Postgres, each exactly once.
#[derive(Parser, Clone, Debug)]
#[command(name = "veilpost-writer", version = veilpost_version::VERSION, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Option<WriterCommand>,

    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Subcommand, Clone, Debug)]
pub enum WriterCommand {
    /// Run pending migrations, grant the writer's role what it needs, and exit
    Migrate(MigrateSettings),
}

#[derive(Args, Clone, Debug)]
pub struct MigrateSettings {
    #[command(flatten)]
    pub database: DatabaseSettings,

    /// Grant this role, the writer's own, what it needs: to insert into --table and to maintain the ledger.
    /// All its other privileges in schema veilpost are revoked
    #[arg(long, env = "VEILPOST_GRANT_TO", help_heading = "Database", value_name = "ROLE")]
    pub grant_to: Option<String>,

    /// The table for --grant-to, as table or schema.table
    #[arg(
        long,
        env = "VEILPOST_TABLE",
        default_value = DEFAULT_TABLE,
        value_parser = parse_table,
        help_heading = "Database",
        value_name = "NAME"
    )]
    pub table: String,

    /// Columns of the key in the policy's on_conflict, separated by commas: --grant-to may read them as well
    #[arg(
        long,
        env = "VEILPOST_ON_CONFLICT_KEY",
        value_delimiter = ',',
        requires = "grant_to",
        help_heading = "Database",
        value_name = "COLUMNS"
    )]
    pub on_conflict_key: Vec<String>,

    /// With do = "update", all other columns of the policy, separated by commas: --grant-to may read and
    /// update them as well
    #[arg(
        long,
        env = "VEILPOST_ON_CONFLICT_UPDATE",
        value_delimiter = ',',
        requires = "on_conflict_key",
        help_heading = "Database",
        value_name = "COLUMNS"
    )]
    pub on_conflict_update: Vec<String>,

    #[command(flatten)]
    pub common: CommonSettings,
}

#[derive(Args, Clone, Debug)]
pub struct Settings {
    #[command(flatten)]
    pub database: DatabaseSettings,

    /// The table to write to, as table or schema.table; streams for any other table are refused
    #[arg(
        long,
        env = "VEILPOST_TABLE",
        default_value = DEFAULT_TABLE,
        value_parser = parse_table,
        help_heading = "Database",
        value_name = "NAME"
    )]
    pub table: String,

    /// Run pending migrations at the start; when false, the writer waits until `veilpost-writer migrate` has
    /// run
    #[arg(long, env = "VEILPOST_MIGRATE", default_value_t = true, action = clap::ArgAction::Set,
          help_heading = "Database", value_name = "true|false")]
    pub migrate: bool,

    /// How many connections store records at the same time
    #[arg(long, env = "VEILPOST_CONNECTIONS", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64),
          help_heading = "Commits", value_name = "COUNT")]
    pub connections: u16,

    /// Maximum rows in one commit
    #[arg(long, env = "VEILPOST_BATCH_RECORDS", default_value_t = 2000, value_parser = parse_count,
          help_heading = "Commits", value_name = "COUNT")]
    pub batch_records: usize,

    /// Maximum size of one commit, in bytes as received
    #[arg(long, env = "VEILPOST_BATCH_BYTES", default_value = "4MiB", value_parser = parse_bytes,
          help_heading = "Commits", value_name = "SIZE")]
    pub batch_bytes: usize,

    /// Maximum memory for batches without a receipt; further batches wait in their senders
    #[arg(long, env = "VEILPOST_QUEUE_BYTES", default_value = "8MiB", value_parser = parse_bytes,
          help_heading = "Commits", value_name = "SIZE")]
    pub queue_bytes: usize,

    /// Address that maskers connect to; port 0 takes a free port
    #[arg(
        long,
        env = "VEILPOST_LISTEN_ADDRESS",
        value_parser = parse_address,
        default_value = "127.0.0.1:50052",
        help_heading = "Network",
        value_name = "ADDRESS"
    )]
    pub listen_address: SocketAddr,

    /// Address of /livez, /readyz and /metrics; port 0 takes a free port
    #[arg(
        long,
        env = "VEILPOST_ADMIN_ADDRESS",
        value_parser = parse_address,
        default_value = "127.0.0.1:9103",
        help_heading = "Network",
        value_name = "ADDRESS"
    )]
    pub admin_address: SocketAddr,

    #[command(flatten)]
    pub tls: TlsSettings,

    /// Names of the callers that may send records, separated by commas. A caller's certificate must have one
    /// of them among its alternative names: a DNS name, or a URI such as
    /// spiffe://cluster.local/ns/veilpost/sa/masker
    #[arg(
        long,
        env = "VEILPOST_TLS_CALLERS",
        default_value = "veilpost-masker",
        value_delimiter = ',',
        value_name = "NAME",
        help_heading = "TLS"
    )]
    pub tls_callers: Vec<String>,

    #[command(flatten)]
    pub common: CommonSettings,
}

#[derive(Args, Clone, Debug)]
pub struct DatabaseSettings {
    /// Database URL, as postgres://user:password@host:port/name?sslmode=verify-full. Other users of the
    /// machine can read a command line: pass a password in the variable or the file
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, help_heading = "Database", value_name = "URL")]
    pub database_url: Option<SecretString>,

    /// File with the database URL. When it is replaced, new connections use the new URL
    #[arg(long, env = "DATABASE_URL_FILE", help_heading = "Database", value_name = "FILE")]
    pub database_url_file: Option<PathBuf>,

    /// Time after which a statement is cancelled and its batch is halved
    #[arg(long, env = "VEILPOST_STATEMENT_TIMEOUT", default_value = "30s", value_parser = parse_duration,
          help_heading = "Database", value_name = "DURATION")]
    pub statement_timeout: Duration,
}

impl DatabaseSettings {
    pub(crate) fn open(self) -> anyhow::Result<Database> {
        if self.statement_timeout < Duration::from_millis(100) {
            return Err(BadSettings("--statement-timeout must be 100ms or longer".to_owned()).into());
        }
        match (self.database_url, self.database_url_file) {
            (Some(url), None) => Database::new(&url, self.statement_timeout),
            (None, Some(file)) => Database::in_file(&file, self.statement_timeout),
            (Some(_), Some(_)) => {
                Err(BadSettings("DATABASE_URL and DATABASE_URL_FILE are both set; give only one".to_owned())
                    .into())
            }
            (None, None) => {
                let needed = "--database-url, DATABASE_URL or DATABASE_URL_FILE is needed";
                Err(BadSettings(needed.to_owned()).into())
            }
        }
    }
}

impl Settings {
    pub(crate) fn commit_limits(&self) -> CommitLimits {
        CommitLimits { rows: self.batch_records, bytes: self.batch_bytes }
    }
}

fn parse_table(text: &str) -> Result<String, String> {
    let names: Vec<_> = text.split('.').collect();
    if names.len() > 2 || names.iter().any(|name| name.is_empty()) {
        return Err("write table or schema.table, without the database and without quotes".to_owned());
    }
    Ok(text.to_owned())
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=100_000) => Ok(count),
        _ => Err(format!("`{text}` is not a number between 1 and 100000")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from([&["veilpost-writer"], arguments].concat())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn migrate_takes_its_settings_behind_its_name() {
        let arguments = parse(&["migrate", "--database-url", "postgres://u:s3cret@h/d"]).unwrap();
        assert!(matches!(arguments.command, Some(WriterCommand::Migrate(_))));
    }

    #[test]
    fn columns_of_a_key_are_for_a_role() {
        let of = |arguments: &[&str]| match parse(&[&["migrate"], arguments].concat()) {
            Ok(Arguments { command: Some(WriterCommand::Migrate(settings)), .. }) => {
                Some((settings.on_conflict_key, settings.on_conflict_update))
            }
            _ => None,
        };
        let key = ["--grant-to", "w", "--on-conflict-key", "id,region"];
        let update = ["--on-conflict-update", "status"];
        let columns = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let both = Some((columns(&["id", "region"]), columns(&["status"])));
        assert_eq!(of(&[&key[..], &update].concat()), both);
        assert_eq!(of(&key[2..]), None, "without a role");
        assert_eq!(of(&[&key[..2], &update].concat()), None, "without a key");
    }

    #[test]
    fn the_url_is_not_shown() {
        let arguments = parse(&["--database-url", "postgres://u:s3cret@h/d"]).unwrap();
        assert!(!format!("{arguments:?}").contains("s3cret"));
    }

    #[test]
    fn a_bad_url_is_a_bad_setting_and_stays_hidden() {
        let arguments = parse(&["--database-url", "nonsense:s3cret"]).unwrap();
        let error = arguments.settings.database.open().unwrap_err();
        assert!(error.downcast_ref::<BadSettings>().is_some());
        assert!(!format!("{error:#}").contains("s3cret"));
        let arguments = parse(&["--database-url", "postgres://u:s3cret@h/d"]).unwrap();
        let database = arguments.settings.database.open().unwrap();
        assert!(!format!("{database:?}").contains("s3cret"));
    }

    #[test]
    fn a_table_has_a_name_and_perhaps_a_schema() {
        assert!(parse(&["--table", "events.user_logins"]).is_ok());
        for nameless in ["", ".", "events.", ".user_logins", "a.b.c"] {
            assert!(parse(&["--table", nameless]).is_err(), "{nameless}");
        }
    }

    #[test]
    fn counts_are_positive() {
        assert!(parse(&["--batch-records", "0"]).is_err());
        assert!(parse(&["--connections", "0"]).is_err());
    }
}
