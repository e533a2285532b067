//! What at least two of Veilpost's services share: process and drain, settings, telemetry, admin port, gRPC server,
//! and the streams between services.

mod accept;
mod admin;
mod allocator;
mod backoff;
mod byte_budget;
mod doors;
mod error;
mod lifecycle;
pub mod link;
mod memory;
pub mod numbers;
mod places;
mod process;
mod secret;
mod serve;
mod settings;
pub mod telemetry;
mod tls;

pub use backoff::Backoff;
pub use byte_budget::{ByteBudget, ByteBudgetPermit};
pub use error::BadSettings;
pub use lifecycle::Lifecycle;
pub use link::{Hop, LinkSettings, Parcel, Source, ToMasker, ToWriter, run_link};
pub use process::run;
pub use secret::secret;
pub use serve::{bind, serve_grpc};
pub use settings::{CommonSettings, LogFormat, parse_bytes, parse_duration};
pub use tls::{Admission, Identity, TlsSettings};
