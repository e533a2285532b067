//! Measured numbers under their names, and the checks that everything is accounted for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One number and the repetitions behind it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) value: f64,
    pub(crate) unit: String,
    pub(crate) samples: Vec<f64>,
}

/// Figures by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Figures(BTreeMap<String, Figure>);

/// The figures and checks of all sections.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) figures: Figures,
    pub(crate) checks: Checks,
}

impl Figures {
    /// Adds a repetition; the figure is the median of all.
    pub(crate) fn add(&mut self, name: &str, unit: &str, sample: f64) {
        let figure = self.sample(name, unit, sample);
        figure.value = rounded(median(&figure.samples));
    }

    /// Adds a repetition; the figure is the highest of all.
    pub(crate) fn add_peak(&mut self, name: &str, unit: &str, sample: f64) {
        let figure = self.sample(name, unit, sample);
        figure.value = figure.samples.iter().copied().fold(f64::MIN, f64::max);
    }

    fn sample(&mut self, name: &str, unit: &str, sample: f64) -> &mut Figure {
        let figure = self.0.entry(name.to_owned()).or_default();
        unit.clone_into(&mut figure.unit);
        figure.samples.push(rounded(sample));
        figure
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Figure> {
        self.0.get(name)
    }

    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        self.0.get(name).map(|figure| figure.value)
    }
}

/// Six significant digits: more would only be noise in the committed file.
fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { at(middle) } else { f64::midpoint(at(middle.saturating_sub(1)), at(middle)) }
}

/// The sample below which the share `q` of all lies.
pub(crate) fn quantile(samples: &[f64], q: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = u64::try_from(sorted.len().saturating_sub(1)).unwrap_or(u64::MAX);
    let rank = veilpost_local::numbers::whole((veilpost_local::numbers::float(last) * q).ceil());
    usize::try_from(rank).ok().and_then(|rank| sorted.get(rank)).copied().unwrap_or(f64::NAN)
}

/// Checks that must pass at any speed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checks {
    pub(crate) passed: u64,
    pub(crate) failed: Vec<String>,
}

impl Checks {
    pub(crate) fn that(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if holds { self.passed += 1 } else { self.failed.push(what()) }
    }

    pub(crate) fn equal(&mut self, what: &str, found: u64, expected: u64) {
        self.that(found == expected, || format!("{what}: {found} instead of {expected}"));
    }

    /// `N passed, N failed`, after a line for each failure.
    pub(crate) fn summary(&self) -> String {
        let last = format!("{} passed, {} failed\n", self.passed, self.failed.len());
        let failures = self.failed.iter().flat_map(|failure| ["FAILED ", failure, "\n"]);
        failures.chain([last.as_str()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-9
    }

    #[test]
    fn a_figure_is_the_median_or_the_peak_of_its_repetitions() {
        let mut figures = Figures::default();
        for sample in [3.0, 100.0, 1.0] {
            figures.add("a.rate", "msg/s", sample);
            figures.add_peak("a.memory", "MiB", sample);
        }
        assert!(close(figures.value("a.rate").unwrap(), 3.0));
        assert!(close(figures.value("a.memory").unwrap(), 100.0));
        assert!(close(median(&[1.0, 2.0]), 1.5));
    }

    #[test]
    fn quantiles_are_samples() {
        let samples: Vec<f64> = (0..=100).map(f64::from).collect();
        assert!(close(quantile(&samples, 0.99), 99.0));
        assert!(close(quantile(&samples, 0.0), 0.0));
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn a_failed_check_is_named_and_counted() {
        let mut checks = Checks::default();
        checks.equal("rows", 1, 1);
        checks.equal("rows", 1, 2);
        assert_eq!(checks.summary(), "FAILED rows: 1 instead of 2\n1 passed, 1 failed\n");
    }
}
