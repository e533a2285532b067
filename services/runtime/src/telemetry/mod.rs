//! What a process shows of itself: logs, metrics and traces. No work waits for any of them.

mod failure;
mod log_filter;
mod logs;
mod notices;
mod outage;
mod recorder;
mod replica_gauge;
mod spans;
mod throttle;
mod traces;

pub use failure::{OTHER, call_failed, failed};
pub use log_filter::LogFilter;
pub use notices::{watch_notices, watch_warnings};
pub use outage::OutageLog;
pub(crate) use recorder::MetricsHandle;
pub(crate) use replica_gauge::ReplicaGauge;
pub use spans::{context_of, lasts_until_now, link, link_to, note_rejection, parent};
pub(crate) use throttle::LineThrottle;
pub use traces::Traces;

use tracing_subscriber::filter::{FilterExt, LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::CommonSettings;

/// Starts traces without logs and metrics, for a command that is not a service. To be called once, inside the
/// asynchronous runtime; [`Traces::flush`] exports the last spans.
///
/// # Errors
///
/// When an exporter is asked for and cannot be built, or the process already has a subscriber. The command
/// can go on without traces.
pub fn export_traces(name: &'static str) -> anyhow::Result<Traces> {
    let (traces, unusable) = Traces::from_environment(name);
    tracing_subscriber::registry().with(Vec::from_iter(traces.layer())).try_init()?;
    unusable.map_or(Ok(traces), |error| Err(anyhow::anyhow!(error)))
}

/// The telemetry of a running service. Spans exist only where traces are exported: log lines do not need
/// them.
pub(crate) struct Telemetry {
    pub(crate) metrics: MetricsHandle,
    traces: Traces,
}

impl Telemetry {
    /// Sets up logs on stderr, the metrics recorder and, if the environment names a collector, the export of
    /// traces. To be called once, inside the asynchronous runtime.
    pub(crate) fn start(service: &'static str, common: &CommonSettings) -> anyhow::Result<Self> {
        let (traces, unusable) = Traces::from_environment(service);
        tracing_subscriber::registry().with(layers(service, &traces, common)).try_init()?;
        std::panic::set_hook(Box::new(logs::log_panic));
        if let Some(error) = unusable {
            tracing::warn!(error, "traces are off: the exporter cannot be built");
        }
        Ok(Self { metrics: MetricsHandle::install()?, traces })
    }

    /// Exports what is still buffered, within a bound.
    pub(crate) async fn flush(self) {
        self.traces.flush().await;
    }
}

/// The subscriber's layers. A layer that is off must be absent and not an `Option` that is `None`: that one
/// would want every span and event of every library, and each call to SQS makes dozens of them.
fn layers(
    service: &'static str,
    traces: &Traces,
    common: &CommonSettings,
) -> Vec<Box<dyn Layer<Registry> + Send + Sync>> {
    let lines = logs::lines(common.log_format).with_filter(loggable(service, common.log.targets()));
    traces.layer().into_iter().chain([lines.boxed(), notices::layer()]).collect()
}

/// What the log may show of what `targets` let through.
fn loggable(service: &'static str, targets: Targets) -> impl tracing_subscriber::layer::Filter<Registry> {
    let loggable = filter_fn(move |metadata| log_filter::is_loggable(service, metadata));
    targets.and(loggable.with_max_level_hint(LevelFilter::TRACE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LogFormat;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;
    use tracing::Level;

    #[test]
    fn without_a_collector_there_are_no_spans_and_no_events_below_the_log_level() {
        let (traces, _) = Traces::from_environment("test");
        let common = CommonSettings {
            log_format: LogFormat::Json,
            log: "info".parse().unwrap(),
            grace_period: Duration::ZERO,
        };
        let subscriber = tracing_subscriber::registry().with(layers("test", &traces, &common));
        assert_eq!(tracing::Subscriber::max_level_hint(&subscriber), Some(LevelFilter::INFO));
        tracing::subscriber::with_default(subscriber, || {
            assert!(tracing::info_span!("own").is_disabled());
            assert!(tracing::debug_span!(target: "h2", "library").is_disabled());
            assert!(!tracing::event_enabled!(target: "h2", Level::DEBUG));
            assert!(tracing::event_enabled!(Level::INFO));
        });
    }

    /// Sees what the lines of the log would show.
    struct Shown(Arc<AtomicBool>);

    impl<S: tracing::Subscriber> Layer<S> for Shown {
        fn on_event(&self, _: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_notice_of_postgres_is_noticed_and_never_logged_whatever_the_filter_says() {
        for directives in ["info", "trace", "off,veilpost_runtime=trace"] {
            let shown = Arc::<AtomicBool>::default();
            let targets = directives.parse::<LogFilter>().unwrap().targets();
            let lines = Shown(Arc::clone(&shown)).with_filter(loggable("writer", targets));
            let layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = vec![lines.boxed(), notices::layer()];
            let _installed = tracing::subscriber::set_default(tracing_subscriber::registry().with(layers));
            let warn = async { tracing::warn!(target: "sqlx::postgres::notice", "ada@example.org") };
            let ((), warned) = watch_warnings(warn).await;
            assert!(warned && !shown.load(Ordering::Relaxed), "{directives}");
            tracing::warn!("what the log does show");
            assert!(shown.load(Ordering::Relaxed), "{directives}");
        }
    }
}
