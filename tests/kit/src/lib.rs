//! What tests of several crates share: proxies that make a connection or a call fail, a whole pipeline of
//! real service binaries, a trace collector, and certificates. It is never a part of the product.

mod acceptor;
mod executables;
mod fault_proxy;
mod grpc_frames;
mod latency_proxy;
mod messages;
mod pgbouncer;
mod pki;
mod shared_postgres;
mod sqs_proxy;
mod stack;
mod tls_postgres;
mod tls_proxy;
mod trace_collector;
mod unfinished_streams;
mod wait;

pub use executables::{Executables, binary};
pub use fault_proxy::{Cut, FaultProxy};
pub use grpc_frames::{GrpcFrame, send_frames};
pub use latency_proxy::LatencyProxy;
pub use messages::{DeadLetter, Standstill, login, send_batch};
pub use pgbouncer::PgBouncer;
pub use pki::{CertificateFiles, Pki};
pub use shared_postgres::SharedPostgres;
pub use sqs_proxy::{ArmedFault, BODILESS, SqsFault, SqsFaultProxy};
pub use stack::Stack;
pub use tls_postgres::TlsPostgres;
pub use tls_proxy::TlsProxy;
pub use trace_collector::{ReceivedSpan, TraceCollector};
pub use unfinished_streams::{UnfinishedStreams, refused_streams};
pub use veilpost_local::certificates::{Authority, CertificateRequest};
pub use veilpost_local::process::free_port;
pub use wait::eventually;
