//! A throw-away Postgres from the programs on this machine.

mod install;
mod programs;
mod server;
mod standby;
mod user;

pub use install::find_or_install;
pub use programs::Programs;
pub use server::{PostgresOptions, ThrowAwayPostgres};
