//! The process's metrics, kept for the admin port.

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::replica_gauge;
use crate::metrics::BUILD_INFO;

/// All metrics of the process; clones share them.
#[derive(Clone)]
pub(crate) struct MetricsHandle(PrometheusHandle);

/// Upper bounds of the buckets of every metric named `…_seconds`: about four to a decade, from 0.5 ms to 6 h.
const SECONDS_BUCKETS: [f64; 32] = [
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3,
    0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 20.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 21_600.0,
];

/// Upper bounds of the buckets of every metric named `…_records`.
const RECORDS_BUCKETS: [f64; 12] =
    [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0];

impl MetricsHandle {
    /// Makes this process record metrics; to be called once.
    pub(super) fn install() -> anyhow::Result<Self> {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)?
            .set_buckets_for_metric(Matcher::Suffix("_records".to_owned()), &RECORDS_BUCKETS)?
            .build_recorder();
        let metrics = Self(recorder.handle());
        metrics::set_global_recorder(recorder).ok().context("cannot install the metrics recorder")?;
        metrics::describe_gauge!(BUILD_INFO, "Always 1; the label says which version runs");
        metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Ok(metrics)
    }

    /// One metric, and no recorder installed.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || metrics::gauge!(BUILD_INFO).set(1.0));
        Self(recorder.handle())
    }

    /// Everything in Prometheus's text format.
    pub(crate) fn render(&self) -> String {
        self.0.render() + &replica_gauge::render()
    }

    /// Condenses the histograms, so that their memory stays bounded when nobody scrapes.
    pub(crate) fn run_upkeep(&self) {
        self.0.run_upkeep();
    }
}
