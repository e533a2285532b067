//! What a process shows of itself: logs, metrics and traces. Nothing waits on it.

mod logs;
mod metrics;
mod passing;
mod traces;

pub(crate) use metrics::Metrics;
pub use traces::{Traces, context_of, lasts_until_now, link, link_to, note_rejection, parent};

use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::CommonSettings;

/// Traces without logs and metrics, for a command that is no service; to be called once, inside the asynchronous runtime. An
/// exporter that cannot be built is an error that need not stop anything.
pub fn export_traces(name: &'static str) -> anyhow::Result<Traces> {
    let (traces, unusable) = Traces::from_environment(name);
    tracing_subscriber::registry().with(traces.layer()).try_init()?;
    unusable.map_or(Ok(traces), |error| Err(anyhow::anyhow!(error)))
}

/// Telemetry of a running process. Spans exist only where traces are exported: log lines do without them.
pub(crate) struct Telemetry {
    pub(crate) metrics: Metrics,
    traces: Traces,
}

impl Telemetry {
    /// Sets up logs on stderr, the metrics' recorder and, if the environment names a collector, the export of traces. To be
    /// called once, inside the asynchronous runtime.
    pub(crate) fn start(service: &'static str, common: &CommonSettings) -> anyhow::Result<Self> {
        let (traces, unusable) = Traces::from_environment(service);
        let (filter, refused) = logs::filter(&common.log);
        let lines = logs::lines(common.log_format).with_filter(filter.and(filter_fn(logs::is_loggable)));
        tracing_subscriber::registry().with(traces.layer()).with(lines).try_init()?;
        std::panic::set_hook(Box::new(logs::log_panic));
        if let Some(error) = unusable {
            tracing::warn!(error, "traces are off: the exporter cannot be built");
        }
        refused.map_or(Ok(()), Err)?;
        Ok(Self { metrics: metrics::install()?, traces })
    }

    /// Exports what is still buffered, within a bound.
    pub(crate) async fn flush(self) {
        self.traces.flush().await;
    }
}
