//! Reads a service's metrics from its admin port.
//!
//! The parser is our own: the crate `prometheus-parse` compiles regex and chrono for the fifty lines that it
//! saves.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(5);

/// One scrape.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    samples: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

/// A histogram's cumulative buckets, by upper bound.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    buckets: Vec<(f64, f64)>,
}

impl Metrics {
    pub async fn fetch(admin: SocketAddr) -> anyhow::Result<Self> {
        let text = timeout(PATIENCE, get(admin, "/metrics"));
        let text = text
            .await
            .context("no answer in time")?
            .with_context(|| format!("cannot read metrics of {admin}"))?;
        Ok(Self::parse(&text))
    }

    /// Skips lines that are not samples.
    pub fn parse(text: &str) -> Self {
        Self { samples: text.lines().filter_map(Sample::parse).collect() }
    }

    /// The sum of a metric over all series that carry every one of `labels`.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.samples.iter().filter(|sample| sample.is(name, labels)).map(|sample| sample.value).sum()
    }

    /// A histogram's buckets, summed over its series.
    pub fn histogram(&self, name: &str) -> Histogram {
        let name = format!("{name}_bucket");
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for sample in self.samples.iter().filter(|sample| sample.is(&name, &[])) {
            let Some(bound) = sample.label("le").and_then(|bound| bound.parse::<f64>().ok()) else {
                continue;
            };
            match buckets.iter_mut().find(|(known, _)| known.total_cmp(&bound).is_eq()) {
                Some((_, count)) => *count += sample.value,
                None => buckets.push((bound, sample.value)),
            }
        }
        buckets.sort_by(|left, right| left.0.total_cmp(&right.0));
        Histogram { buckets }
    }
}

impl Sample {
    fn parse(line: &str) -> Option<Self> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let (series, rest) = match line.split_once('{') {
            Some((name, rest)) => {
                let (labels, value) = rest.rsplit_once('}')?;
                ((name, labels), value)
            }
            None => line.split_once(' ').map(|(name, value)| ((name, ""), value))?,
        };
        let value = rest.split_whitespace().next()?.parse().ok()?;
        Some(Self { name: series.0.trim().to_owned(), labels: labels(series.1)?, value })
    }

    fn is(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.name == name && labels.iter().all(|(label, value)| self.label(label) == Some(value))
    }

    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

/// `a="x",b="y"`; a quote inside a value is escaped by a backslash.
fn labels(mut text: &str) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    while let Some((name, rest)) = text.split_once("=\"") {
        let (value, rest) = quoted(rest)?;
        found.push((name.trim_start_matches([',', ' ']).to_owned(), value));
        text = rest;
    }
    Some(found)
}

fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => value.push(match characters.next()? {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
}

impl Histogram {
    /// The quantile `q` (0 to 1) as Prometheus's `histogram_quantile` gives it: linear within the bucket that
    /// holds it, and the highest finite bound for what lies above that. None when nothing was observed.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let total = self.buckets.last().map(|(_, count)| *count).filter(|total| *total > 0.0)?;
        let rank = q.clamp(0.0, 1.0) * total;
        let mut below = (0.0, 0.0);
        for &(bound, count) in &self.buckets {
            if count >= rank && count > 0.0 {
                return Some(if bound.is_finite() { between(below, (bound, count), rank) } else { below.0 });
            }
            below = (bound, count);
        }
        None
    }
}

fn between((low, before): (f64, f64), (high, after): (f64, f64), rank: f64) -> f64 {
    let share = if after > before { ((rank - before) / (after - before)).max(0.0) } else { 1.0 };
    low + (high - low) * share
}

/// Uses HTTP/1.0, so that the answer is not chunked and ends with the connection.
async fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("not an HTTP answer")?;
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    anyhow::ensure!(status == "200", "HTTP status {status}");
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP veilpost_writer_records_total Records by outcome.
# TYPE veilpost_writer_records_total counter
veilpost_writer_records_total{outcome="stored",table="a\"b,c"} 90
veilpost_writer_records_total{outcome="rejected"} 10 1700000000

veilpost_up 1
latency_seconds_bucket{le="0.1"} 50
latency_seconds_bucket{le="0.2"} 90
latency_seconds_bucket{le="0.4"} 100
latency_seconds_bucket{le="+Inf"} 100
latency_seconds_sum 12.5
"#;

    #[test]
    fn sums_go_over_the_series_with_the_given_labels() {
        let metrics = Metrics::parse(TEXT);
        let sum = |labels: &[(&str, &str)]| metrics.sum("veilpost_writer_records_total", labels);
        assert!((sum(&[]) - 100.0).abs() < f64::EPSILON);
        assert!((sum(&[("outcome", "stored")]) - 90.0).abs() < f64::EPSILON);
        assert!((sum(&[("table", "a\"b,c")]) - 90.0).abs() < f64::EPSILON);
        assert!(sum(&[("outcome", "none")]).abs() < f64::EPSILON);
        assert!((metrics.sum("veilpost_up", &[]) - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn quantiles_are_interpolated_within_their_bucket() {
        let histogram = Metrics::parse(TEXT).histogram("latency_seconds");
        let near = |q: f64, expected: f64| (histogram.quantile(q).unwrap() - expected).abs() < 1e-9;
        assert!(near(0.5, 0.1));
        assert!(near(0.25, 0.05));
        assert!(near(0.7, 0.15));
        assert!(near(0.99, 0.38));
        assert!(near(1.0, 0.4));
    }

    #[test]
    fn observations_above_all_bounds_count_as_the_highest_bound() {
        let text = "x_bucket{le=\"1\"} 1\nx_bucket{le=\"+Inf\"} 10\n";
        assert_eq!(Metrics::parse(text).histogram("x").quantile(0.99), Some(1.0));
    }

    #[test]
    fn nothing_observed_has_no_quantile() {
        assert_eq!(Metrics::parse("").histogram("x").quantile(0.5), None);
        assert_eq!(Metrics::parse("x_bucket{le=\"+Inf\"} 0\n").histogram("x").quantile(0.5), None);
    }
}
