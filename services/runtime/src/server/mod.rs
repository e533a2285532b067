//! What listens: the gRPC server for the other services, and the admin port for probes and metrics.

mod accept;
mod admin;
mod connection_limit;
mod grpc;
mod http;
mod listen;
mod message_limits;
mod refused_calls;

pub(crate) use admin::Admin;
pub(crate) use grpc::{CONNECTION_WINDOW, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, STREAM_WINDOW};
pub use grpc::{bind, serve_grpc};
pub use listen::parse_address;
