//! The demo's settings.

use clap::Args;

use crate::send_command::EventMix;

#[derive(Args, Clone)]
pub(crate) struct DemoSettings {
    /// How many sample events to send; the first hundred have every odd shape
    #[arg(long, env = "VEILPOST_MESSAGES", default_value_t = 100, help_heading = "Events",
          value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(super) messages: u64,

    #[command(flatten)]
    pub(super) mix: EventMix,

    /// Use this Postgres instead of a throw-away one; the table user_logins and the schema veilpost are made
    /// if they are missing, and rows are added
    #[arg(
        long,
        env = "VEILPOST_DEMO_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        help_heading = "Postgres"
    )]
    pub(super) database_url: Option<String>,

    /// Leave everything running until Ctrl-C, and say how to look at it
    #[arg(long, env = "VEILPOST_KEEP", help_heading = "Result")]
    pub(super) keep: bool,

    /// Print one JSON object instead of the table and the summary
    #[arg(long, env = "VEILPOST_JSON", help_heading = "Result")]
    pub(super) json: bool,
}

/// A database URL may hold a password.
impl std::fmt::Debug for DemoSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("DemoSettings").field("messages", &self.messages).finish_non_exhaustive()
    }
}
