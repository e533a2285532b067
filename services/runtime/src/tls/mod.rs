//! Mutual TLS between the services: certificates from files that may be replaced at any time, who may call whom, and what
//! is said about those who may not.

mod certificate;
mod connect;
mod connection;
mod credentials;
mod door;
mod guard;
mod identity;
mod refusal;
mod refusals;
mod settings;
mod trust;
mod witness;

pub(crate) use connect::connect;
pub(crate) use door::Door;
pub(crate) use guard::Guard;
pub use identity::{Admission, Identity};
pub(crate) use refusals::Refusals;
pub use settings::TlsSettings;
