//! Veilpost's writer: stores masked records in Postgres, each exactly once.
//!
//! Maskers open streams (`grpc`) and send batches of masked records. Each value is converted to the input of
//! its column (`convert`) before any SQL runs. A few committers (`commit`) merge the batches that wait and
//! store them: one statement inserts the rows and their keys in the `ledger`, so that a message that comes
//! again is recognised. Every batch is answered with a receipt that has one outcome for each record.
//!
//! The crate is a library so that tests can run the writer in their own process; there is no interface except
//! [`run()`], [`Writer`], [`migrate()`] and their settings, and [`connect_options`] for tools.
//!
//! ```
//! use clap::Parser;
//! use veilpost_writer::{Arguments, Writer};
//!
//! let arguments = ["veilpost-writer", "--database-url", "postgres://u@localhost/d"];
//! let Arguments { settings, .. } = Arguments::try_parse_from(arguments)?;
//! // Connects to nothing yet; `Writer::run` does, with the `Lifecycle` that `veilpost_runtime::run` makes.
//! let writer = Writer::new(settings)?;
//! # let _ = writer;
//! # Ok::<(), anyhow::Error>(())
//! ```

#[cfg(feature = "bench")]
mod bench;
mod catalogue;
mod commit;
mod convert;
mod database;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod grpc;
mod ledger;
mod metrics;
mod migrate;
mod record;
mod service;
mod settings;
mod spans;
mod start_retry;
mod target;

#[cfg(feature = "bench")]
pub use bench::{PreparedRecords, StatementLoop};
pub use database::connect_options;
pub use ledger::{
    ClockReadings, Fate, LedgerEntry, Purpose, WindowDecision, decide_by_window, fate, idle_slot, slot_of,
};
pub use migrate::migrate;
pub use service::{Writer, run};
pub use settings::{Arguments, DatabaseSettings, MigrateSettings, Settings, WriterCommand};
