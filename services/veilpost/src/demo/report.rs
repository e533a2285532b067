//! The demo's result: for people, or as one JSON object.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::account::Account;
use super::store::TextRow;
use super::table;
use veilpost_local::numbers::whole;
use veilpost_local::output::grouped;
use veilpost_local::process::Histogram;

#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) sent: u64,
    pub(super) stored: u64,
    /// Deliveries of messages that were stored before.
    pub(super) duplicate: u64,
    pub(super) rejected: BTreeMap<String, u64>,
    pub(super) dead_lettered: u64,
    pub(super) messages_per_second: f64,
    pub(super) latency_ms: Latency,
    pub(super) rss_mib: Memory,
    /// From the first message sent to the last commit.
    pub(super) seconds: f64,
    pub(super) accounted: bool,
    pub(super) discrepancies: Vec<String>,
    #[serde(skip)]
    pub(super) rows: Vec<TextRow>,
}

/// From sent to committed.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Latency {
    p50: Option<f64>,
    p99: Option<f64>,
}

/// The most that each process has had in RAM.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Memory {
    reader: Option<f64>,
    masker: Option<f64>,
    writer: Option<f64>,
}

impl Latency {
    pub(super) fn of(seconds: &Histogram) -> Self {
        let milliseconds = |q| seconds.quantile(q).map(|seconds| rounded(seconds * 1e3));
        Self { p50: milliseconds(0.5), p99: milliseconds(0.99) }
    }
}

impl Memory {
    pub(super) fn new(reader: Option<u64>, masker: Option<u64>, writer: Option<u64>) -> Self {
        let mebibytes = |bytes: Option<u64>| {
            bytes.map(|bytes| rounded(veilpost_local::numbers::float(bytes) / 1_048_576.0))
        };
        Self { reader: mebibytes(reader), masker: mebibytes(masker), writer: mebibytes(writer) }
    }
}

impl Report {
    pub(super) fn accounted(&self) -> bool {
        self.accounted
    }

    pub(super) fn set_account(&mut self, account: Account) {
        self.stored = account.stored;
        self.dead_lettered = account.rejected_total();
        self.accounted = account.discrepancies.is_empty();
        self.rejected = account.rejected;
        self.discrepancies = account.discrepancies;
    }

    pub(super) fn output(&self, json: bool) -> anyhow::Result<String> {
        if json { Ok(serde_json::to_string(self)? + "\n") } else { Ok(self.for_people()) }
    }

    fn for_people(&self) -> String {
        let mut text = format!("\nuser_logins, its first {} rows\n\n", self.rows.len());
        text.push_str(&table::layout(&self.rows));
        text.push('\n');
        for (name, value) in self.counts() {
            writeln!(text, "{name:<26}{value:>10}").ok();
        }
        text.push('\n');
        for (name, value) in self.figures() {
            writeln!(text, "{name:<20}{value}").ok();
        }
        text.push('\n');
        text.push_str(&self.verdict());
        text
    }

    fn counts(&self) -> Vec<(String, String)> {
        let line = |name: &str, count: u64| (name.to_owned(), grouped(count));
        let mut lines =
            vec![line("sent", self.sent), line("stored", self.stored), line("duplicate", self.duplicate)];
        lines.push(line("rejected", self.rejected.values().sum()));
        lines.extend(self.rejected.iter().map(|(reason, count)| line(&format!("  {reason}"), *count)));
        lines.push(line("in the dead-letter queue", self.dead_lettered));
        lines
    }

    fn figures(&self) -> [(&'static str, String); 3] {
        let number =
            |value: Option<f64>, unit: &str| value.map_or("?".to_owned(), |value| format!("{value} {unit}"));
        let (latency, memory) = (self.latency_ms, self.rss_mib);
        let mebibytes = |name: &str, value| format!("{name} {}", number(value, "MiB"));
        [
            ("rate", format!("{} messages/s", grouped(whole(self.messages_per_second)))),
            (
                "sent to committed",
                format!("p50 {}, p99 {}", number(latency.p50, "ms"), number(latency.p99, "ms")),
            ),
            (
                "memory at peak",
                [
                    mebibytes("reader", memory.reader),
                    mebibytes("masker", memory.masker),
                    mebibytes("writer", memory.writer),
                ]
                .join(", "),
            ),
        ]
    }

    fn verdict(&self) -> String {
        if self.accounted {
            return "Every message is accounted for.\n".to_owned();
        }
        let lines = self.discrepancies.iter().flat_map(|line| ["  ", line, "\n"]);
        std::iter::once("NOT every message is accounted for:\n").chain(lines).collect()
    }
}

/// One decimal is all that is worth showing.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            sent: 1_000,
            stored: 998,
            duplicate: 0,
            rejected: BTreeMap::from([("not-json".to_owned(), 2)]),
            dead_lettered: 2,
            messages_per_second: 12_345.6,
            latency_ms: Latency { p50: Some(12.5), p99: None },
            rss_mib: Memory::new(Some(20 << 20), None, Some(15 << 20)),
            seconds: 0.1,
            accounted: true,
            discrepancies: Vec::new(),
            rows: Vec::new(),
        }
    }

    #[test]
    fn the_json_is_one_object_on_one_line_with_every_promised_field() {
        let text = report().output(true).unwrap();
        assert_eq!(text.lines().count(), 1);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["rejected"]["not-json"], 2);
        assert_eq!(json["latency_ms"]["p50"], 12.5);
        assert!(json["latency_ms"]["p99"].is_null());
        assert!((json["rss_mib"]["reader"].as_f64().unwrap() - 20.0).abs() < 0.01);
        for name in ["sent", "stored", "duplicate", "dead_lettered", "messages_per_second"] {
            assert!(json[name].is_number(), "{name}");
        }
    }

    /// After a change of the summary, `INSTA_UPDATE=always cargo test -p veilpost summary` writes it again.
    #[test]
    fn the_summary_for_people_is_the_one_of_its_snapshot() {
        let text = |text: &str| Some(text.to_owned());
        let row = [text("u-1"), text("ios"), text("93462c3bb2f1"), None, text("DE"), text("7"), None];
        insta::assert_snapshot!(Report { rows: vec![row], ..report() }.output(false).unwrap());
    }

    #[test]
    fn people_read_what_does_not_add_up() {
        let wrong =
            Report { accounted: false, discrepancies: vec!["3 messages are gone".to_owned()], ..report() };
        assert!(
            wrong
                .output(false)
                .unwrap()
                .ends_with("NOT every message is accounted for:\n  3 messages are gone\n")
        );
        assert!(report().output(false).unwrap().contains("12,346 messages/s"));
    }
}
