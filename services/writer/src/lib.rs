//! Veilpost's writer: stores masked records in Postgres exactly once.

mod bare;
mod catalogue;
mod commit;
mod convert;
mod database;
mod grants;
mod ledger;
mod metrics;
mod migrate;
mod record;
mod service;
mod settings;
mod shared;
mod spans;
mod statement;
#[cfg(any(test, fuzzing))]
pub mod untrusted;
mod writer;

pub use bare::{Bare, BareBatch};
pub use migrate::migrate;
pub use settings::{Arguments, Command, DatabaseSettings, MigrateSettings, Settings};
pub use writer::Writer;
