//! What Veilpost's services share: a process with drain and exit status, settings, logs, metrics and traces,
//! the admin port, the gRPC server, mutual TLS, and the link to the service downstream.
//!
//! This is a whole service: it sends one record to the maskers, waits for the receipt and ends. [`run`] gives
//! it logs, metrics, the admin port and a drain; [`run_link`] keeps a stream to every masker and sends the
//! batch again when its stream breaks.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use clap::Parser;
//! use tokio::sync::{mpsc, oneshot};
//! use veilpost_proto::v1::{RawBatch, RawRecord};
//! use veilpost_runtime::{
//!     CommonSettings, Lifecycle, LinkSettings, Outgoing, TlsSettings, ToMasker, run, run_link,
//! };
//!
//! #[derive(Parser)]
//! struct Settings {
//!     #[command(flatten)]
//!     common: CommonSettings,
//!     #[command(flatten)]
//!     link: LinkSettings,
//!     #[command(flatten)]
//!     tls: TlsSettings,
//! }
//!
//! fn main() -> ExitCode {
//!     let settings = Settings::parse();
//!     let common = settings.common.clone();
//!     run("example", &common, ([127, 0, 0, 1], 9100).into(), async |life| send_one(settings, life).await)
//! }
//!
//! async fn send_one(settings: Settings, life: Lifecycle) -> anyhow::Result<()> {
//!     settings.link.check(&settings.tls)?;
//!     let identity = settings.tls.open(&life)?;
//!     let (outgoing, source) = mpsc::channel(1);
//!     life.spawn("sender", async move {
//!         let body = r#"{"user_id": "u1"}"#.into();
//!         let record = RawRecord { message_id: "m1".to_owned(), body: Some(body), ..RawRecord::default() };
//!         let batch = RawBatch { records: vec![record], ..RawBatch::default() };
//!         let (reply, receipt) = oneshot::channel();
//!         outgoing.send(Outgoing { batch, reply, suspect: false }).await?;
//!         let receipt = receipt.await?;
//!         tracing::info!(outcomes = ?receipt.outcomes, "answered");
//!         Ok(())
//!     });
//!     life.set_ready(true);
//!     // Ends once the sender is gone and its batch has a receipt.
//!     run_link(ToMasker, source, &settings.link, identity, &life).await
//! }
//! ```
//!
//! - [`run`], [`Lifecycle`]: the process, its tasks, its drain and its readiness.
//! - [`bind`], [`serve_grpc`]: the gRPC server of a masker or writer.
//! - [`link`]: the streams to the service downstream.
//! - [`telemetry`]: spans across services, and failures that are logged once.
//! - [`TlsSettings`], [`Identity`], [`Admission`]: mutual TLS with files that may be replaced at any time.
//! - [`Backoff`], [`ByteBudget`], [`numbers`]: small tools.
//! - [`CommonSettings`], [`parse_duration`], [`parse_bytes`], [`parse_address`], [`secret`]: settings.

#![warn(missing_docs)]
#![warn(clippy::missing_errors_doc)]

mod allocator;
mod backoff;
mod byte_budget;
mod error;
mod file_stamps;
mod lifecycle;
pub mod link;
mod memory;
mod metrics;
pub mod numbers;
mod process;
mod secret;
mod server;
mod settings;
pub mod telemetry;
mod tls;

pub use backoff::Backoff;
pub use byte_budget::{ByteBudget, ByteBudgetPermit};
pub use error::BadSettings;
pub use file_stamps::FileStamps;
pub use lifecycle::Lifecycle;
pub use link::{
    Acceptance, Downstream, Feature, LinkSettings, Outgoing, OutgoingSource, ToMasker, ToWriter, run_link,
};
pub use process::run;
pub use secret::secret;
pub use server::{bind, parse_address, serve_grpc};
pub use settings::{CommonSettings, LogFormat, parse_bytes, parse_duration};
pub use telemetry::LogFilter;
pub use tls::{Admission, Identity, TlsSettings};
