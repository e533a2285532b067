//! Gauges of replicas, which come and go: one is shown only as long as somebody has its handle.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// Gauges with this label are a replica's.
const LABEL: &str = "address";

/// Keeps the gauges of replicas itself, and leaves all other metrics to `lasting`, where they stay for ever.
pub(super) struct Split<R> {
    pub(super) lasting: R,
    pub(super) passing: Passing,
}

/// The gauges that have been registered, by name and labels.
#[derive(Clone, Default)]
pub(crate) struct Passing(Arc<Mutex<BTreeMap<Key, Weak<AtomicU64>>>>);

impl Passing {
    fn register(&self, key: &Key) -> Gauge {
        let mut gauges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gauges.retain(|_, value| value.strong_count() > 0);
        let value = gauges.get(key).and_then(Weak::upgrade).unwrap_or_default();
        gauges.insert(key.to_retained(), Arc::downgrade(&value));
        Gauge::from_arc(value)
    }

    /// The gauges that somebody has, in Prometheus's text format.
    pub(super) fn render(&self) -> String {
        let gauges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let alive = gauges.iter().filter_map(|(key, value)| Some((key, value.upgrade()?)));
        let mut family = "";
        let mut lines = Vec::new();
        for (key, value) in alive {
            if std::mem::replace(&mut family, key.name()) != key.name() {
                lines.push(format!("# TYPE {family} gauge\n"));
            }
            // An address has no character that would have to be escaped.
            let labels: Vec<_> =
                key.labels().map(|label| format!("{}=\"{}\"", label.key(), label.value())).collect();
            let value = f64::from_bits(value.load(Ordering::Acquire));
            lines.push(format!("{family}{{{}}} {value}\n", labels.join(",")));
        }
        lines.concat()
    }
}

impl<R: Recorder> Recorder for Split<R> {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.lasting.describe_counter(key, unit, description);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.lasting.describe_gauge(key, unit, description);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.lasting.describe_histogram(key, unit, description);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.lasting.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        if key.labels().any(|label| label.key() == LABEL) {
            self.passing.register(key)
        } else {
            self.lasting.register_gauge(key, metadata)
        }
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.lasting.register_histogram(key, metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics::NoopRecorder;

    #[test]
    fn a_replicas_gauge_is_shown_until_its_last_handle_is_gone() {
        let split = Split { lasting: NoopRecorder, passing: Passing::default() };
        metrics::with_local_recorder(&split, || {
            let first = metrics::gauge!("load", "address" => "10.0.0.1:1");
            let second = metrics::gauge!("load", "address" => "10.0.0.2:1");
            let again = metrics::gauge!("load", "address" => "10.0.0.1:1");
            metrics::gauge!("other").set(1.0);
            first.set(3.0);
            second.set(0.5);
            let both =
                "# TYPE load gauge\nload{address=\"10.0.0.1:1\"} 3\nload{address=\"10.0.0.2:1\"} 0.5\n";
            assert_eq!(split.passing.render(), both);
            drop((first, second));
            assert_eq!(split.passing.render(), "# TYPE load gauge\nload{address=\"10.0.0.1:1\"} 3\n");
            drop(again);
            assert_eq!(split.passing.render(), "");
        });
    }
}
