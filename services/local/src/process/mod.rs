//! Programs that run as children: guarded, with their logs in files.

mod child;
mod log;
pub mod memory;
mod metrics;
mod port;
mod service;
mod signals;

pub use child::Child;
pub use log::LogLine;
pub use metrics::{Histogram, Metrics};
pub use port::free_port;
pub use service::{ServiceCommand, ServiceProcess};
pub use signals::{EndingSignals, until_signal};

/// The last lines of any program's log.
pub(crate) fn log_tail(file: &std::path::Path) -> String {
    log::tail(file, 0, 10)
}
