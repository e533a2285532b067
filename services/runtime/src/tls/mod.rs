//! Mutual TLS between the services: certificates from files that may be replaced at any time, who may call
//! which service, and what is logged about refused peers.

mod acceptor;
mod authorize;
mod certificate;
mod connect;
mod connection;
mod credentials;
mod handshake_timeout;
mod lifetime;
mod own_identity;
mod recording_verifier;
mod refusal_reason;
mod refusals;
mod settings;

pub(crate) use acceptor::TlsAcceptor;
pub(crate) use authorize::CallerAuthorization;
pub(crate) use connect::connect;
pub(crate) use handshake_timeout::within_handshake_timeout;
pub use own_identity::{Admission, Identity};
pub(crate) use refusals::Refusals;
pub use settings::TlsSettings;
