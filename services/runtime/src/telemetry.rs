//! Logs and metrics of a process.

use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::{BadSettings, CommonSettings, LogFormat};

pub(crate) type Metrics = PrometheusHandle;

/// Upper bounds of the buckets of every metric named `…_seconds`: four to a decade, from 0.5 ms to 6 h.
const SECONDS_BUCKETS: [f64; 32] = [
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3,
    0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 20.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 21_600.0,
];

/// Upper bounds of the buckets of every metric named `…_records`.
const RECORDS_BUCKETS: [f64; 12] =
    [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0];

/// Sets up logs on stderr and the process's metrics; to be called once.
pub(crate) fn start(common: &CommonSettings) -> anyhow::Result<Metrics> {
    start_logs(common)?;
    std::panic::set_hook(Box::new(log_panic));
    let metrics = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("_records".to_owned()), &RECORDS_BUCKETS)?
        .install_recorder()
        .context("cannot install the metrics recorder")?;
    metrics::gauge!("veilpost_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(metrics)
}

fn start_logs(common: &CommonSettings) -> anyhow::Result<()> {
    let filter = EnvFilter::builder()
        .parse(&common.log)
        .map_err(|error| BadSettings(format!("--log `{}`: {error}", common.log)));
    let (filter, refused) = match filter {
        Ok(filter) => (filter, None),
        Err(refused) => (EnvFilter::new("info"), Some(refused)),
    };
    let json = match common.log_format {
        LogFormat::Json => true,
        LogFormat::Pretty => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = if json {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).boxed()
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init()
        .context("cannot set up logs")?;
    refused.map_or(Ok(()), |refused| Err(refused.into()))
}

/// Logs where a panic happened but not its message, which may quote the data at hand.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(location, "panicked");
}
