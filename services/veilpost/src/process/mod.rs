//! Programs that run as children: guarded, with their logs in files.

mod child;
mod log;
mod metrics;
mod service;

pub use child::{Child, EndingSignals};
pub use log::LogLine;
pub use metrics::{Histogram, Metrics};
pub use service::{Service, ServiceCommand};

/// The last lines of any program's log.
pub(crate) fn log_tail(file: &std::path::Path) -> String {
    log::tail(file, 0, 10)
}
