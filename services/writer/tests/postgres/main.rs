//! The writer against a real Postgres, which these tests start and stop themselves.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by a panic")]

mod claims;
mod clocks;
mod definition;
mod duplicates;
mod errors;
mod failures;
mod grants;
mod hijack;
mod masker;
mod pooler;
mod rows;
mod running_writer;
mod standby;
mod start;
mod stream;
mod test_database;
mod tls;
mod types;
mod undecided;
mod upkeep;
mod upsert_rights;
mod upserts;
mod upserts_at_random;
mod words;
