//! What to measure, and how much of it.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::worker::Work;

/// Measures Veilpost and compares it with bare loops over the same queue, the same bodies and the same
/// Postgres
///
/// Ratios are medians over repetitions in which both sides take turns. Nothing but Rust and Postgres's server
/// programs is needed; everything runs on loopback and is gone afterwards.
#[derive(Parser, Clone, Debug)]
#[command(name = "veilpost-bench", version, max_term_width = 110, args_conflicts_with_subcommands = true)]
pub(crate) struct BenchArguments {
    #[command(subcommand)]
    pub(crate) command: Option<BenchCommand>,

    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Subcommand, Clone, Debug)]
pub(crate) enum BenchCommand {
    /// Compare every figure in README and docs with docs/performance.json
    Check,
    /// Write README's and docs' figures and the picture again from docs/performance.json
    Render,
    /// One side of a comparison in a process of its own
    #[command(subcommand, hide = true)]
    Worker(Work),
}

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Measure only these, separated by commas [default: all but growth]
    #[arg(long, value_delimiter = ',', value_name = "SECTION", help_heading = "What")]
    pub(crate) only: Vec<Section>,

    /// Also measure how cost grows with replicas, body sizes and columns, and queues of 1 to 100 ms
    #[arg(long, help_heading = "What")]
    pub(crate) growth: bool,

    /// Everything in seconds and small: shows that it runs, not how fast
    #[arg(long, help_heading = "What")]
    pub(crate) smoke: bool,

    /// Measure the executables in this directory instead of building them
    #[arg(long, value_name = "DIR", help_heading = "What")]
    pub(crate) binaries: Option<PathBuf>,

    /// Messages from queue to committed rows in one repetition
    #[arg(long, default_value_t = 100_000, value_name = "COUNT", help_heading = "How much")]
    pub(crate) messages: u64,

    /// Messages that wait in the queue meanwhile; they are fed while it is drained
    #[arg(long, default_value_t = 5_000, value_name = "COUNT", help_heading = "How much")]
    pub(crate) backlog: u64,

    /// Rows into Postgres in one repetition
    #[arg(long, default_value_t = 500_000, value_name = "COUNT", help_heading = "How much")]
    pub(crate) rows: u64,

    /// Records to mask in one repetition
    #[arg(long, default_value_t = 1_000_000, value_name = "COUNT", help_heading = "How much")]
    pub(crate) records: u64,

    /// How often each side of a comparison takes its turn
    #[arg(long, default_value_t = 3, value_name = "COUNT", help_heading = "How much",
          value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) repetitions: u32,

    /// Keys that are in the ledger before its cost is measured
    #[arg(long, default_value_t = 20_000_000, value_name = "COUNT", help_heading = "How much")]
    pub(crate) ledger_keys: u64,

    /// Messages in the queue when memory is measured
    #[arg(long, default_value_t = 1_000_000, value_name = "COUNT", help_heading = "How much")]
    pub(crate) memory_backlog: u64,

    /// Messages sent one by one into the idle pipeline
    #[arg(long, default_value_t = 200, value_name = "COUNT", help_heading = "How much")]
    pub(crate) idle_messages: u64,

    /// Messages for the loop that handles one at a time
    #[arg(long, default_value_t = 300, value_name = "COUNT", help_heading = "How much")]
    pub(crate) today_messages: u64,

    /// Calls to the queue at once in the bare loop, and receives and deletes of the reader at most [default:
    /// 8, and what the reader chooses]
    #[arg(long, value_name = "CALLS", help_heading = "How much", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) calls: Option<u16>,

    /// Rows in one commit of the bare loops, and records in one batch to the services
    #[arg(long, default_value_t = 1_000, value_name = "COUNT", help_heading = "How much",
          value_parser = clap::value_parser!(u64).range(1..=2_000))]
    pub(crate) batch: u64,

    /// Write the figures as JSON
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    pub(crate) json: Option<PathBuf>,

    /// Write the picture
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    pub(crate) svg: Option<PathBuf>,

    /// Write docs/performance.json, docs/performance.svg and the figures in README and docs
    #[arg(long, help_heading = "Result", conflicts_with_all = ["smoke", "only", "binaries"])]
    pub(crate) update: bool,
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Section {
    /// Queue to committed rows, compared with a bare receive-and-delete loop
    Pipeline,
    /// One message at a time into an idle pipeline, compared with the queue's own wake-up
    Idle,
    /// One message at a time, one connection a row
    Today,
    /// From start to ready
    Start,
    /// Peak memory of the services with a long queue
    Memory,
    /// The masker, compared with a bare masking loop
    Masker,
    /// A bare gRPC stream of the same bodies
    Stream,
    /// The writer, compared with a bare loop of its own statement, and with COPY
    Writer,
    /// The writer's statement with and without the ledger
    Ledger,
    /// Replicas, body sizes, columns, distance to the queue
    Growth,
}

impl Section {
    const USUAL: [Self; 9] = [
        Self::Pipeline,
        Self::Idle,
        Self::Today,
        Self::Start,
        Self::Memory,
        Self::Masker,
        Self::Stream,
        Self::Writer,
        Self::Ledger,
    ];
}

impl Settings {
    /// In the order in which they are measured: what fills the database comes last.
    pub(crate) fn sections(&self) -> Vec<Section> {
        let chosen = if self.only.is_empty() { Section::USUAL.to_vec() } else { self.only.clone() };
        let mut sections: Vec<Section> =
            chosen.into_iter().chain(self.growth.then_some(Section::Growth)).collect();
        // Growth needs an empty ledger, which Ledger leaves full.
        sections.sort_by_key(|section| (*section == Section::Ledger, *section));
        sections.dedup();
        sections
    }

    /// The sizes for a smoke test.
    pub(crate) fn sized(mut self) -> Self {
        if self.smoke {
            self.messages = 2_000;
            self.backlog = 500;
            self.rows = 4_000;
            self.records = 4_000;
            self.repetitions = 1;
            self.ledger_keys = 10_000;
            self.memory_backlog = 2_000;
            self.idle_messages = 3;
            self.today_messages = 10;
        }
        self
    }

    pub(crate) fn bare_calls(&self) -> u16 {
        self.calls.unwrap_or(8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn settings(more: &[&str]) -> Settings {
        BenchArguments::try_parse_from([&["veilpost-bench"], more].concat()).unwrap().settings
    }

    #[test]
    fn the_command_line_is_consistent() {
        BenchArguments::command().debug_assert();
    }

    #[test]
    fn what_fills_the_database_is_measured_last() {
        assert_eq!(settings(&["--growth"]).sections().last(), Some(&Section::Ledger));
        assert_eq!(settings(&["--only", "ledger,writer"]).sections(), [Section::Writer, Section::Ledger]);
        assert!(!settings(&[]).sections().contains(&Section::Growth));
    }

    #[test]
    fn a_smoke_test_never_becomes_documentation() {
        assert!(BenchArguments::try_parse_from(["veilpost-bench", "--smoke", "--update"]).is_err());
    }
}
