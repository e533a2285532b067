//! Veilpost's writer: stores masked records in Postgres exactly once.

mod bare;
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
mod shared;
mod spans;
mod start_retry;
mod statement;

pub use bare::{Bare, BareBatch};
pub use migrate::migrate;
pub use service::Writer;
pub use settings::{Arguments, Command, DatabaseSettings, MigrateSettings, Settings};
