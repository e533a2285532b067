//! The whole pipeline end to end: three services as processes, a real Postgres, the SQS protocol over HTTP.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod database_login;
mod database_urls;
mod exactly_once;
mod faults;
mod hiding;
mod leaks;
mod policy_changes;
mod refusals;
mod rules;
mod scale;
mod tls;
mod traces;
mod untrusted;
mod upserts;
mod wrong_peers;
