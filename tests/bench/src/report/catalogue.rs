//! What the figures are called, in the order in which they are shown.

use super::number::with_unit;
use super::table::{Rows, row};
use crate::figures::Figures;

/// Figures that are shown together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    /// What documents call it.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Name of the figure, and what it says.
    figures: &'static [(&'static str, &'static str)],
}

pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: "throughput",
        title: "Throughput",
        figures: &[
            ("end-to-end.rate", "queue to committed rows"),
            ("bare-queue.rate", "bare receive-and-delete loop, same queue, fed the same way"),
            ("end-to-end.ratio", "the first to the second"),
            ("today.rate", "one message at a time, one connection a row"),
            ("today.ratio", "the first to that"),
            ("end-to-end.backlog", "messages in the queue meanwhile, mean"),
            ("bare-queue.backlog", "the same, bare loop"),
        ],
    },
    Group {
        name: "cpu",
        title: "CPU time a message (1 µs a message is 1 CPU-second a million messages)",
        figures: &[
            ("end-to-end.cpu-reader", "reader"),
            ("end-to-end.cpu-masker", "masker"),
            ("end-to-end.cpu-writer", "writer"),
            ("end-to-end.cpu-postgres", "Postgres"),
            ("end-to-end.cpu-queue", "queue"),
            ("end-to-end.cpu-feed", "what sends the messages"),
            ("bare-queue.cpu", "bare loop instead of the services"),
            ("bare-queue.queue-cpu", "queue under the bare loop"),
            ("bare-queue.feed-cpu", "what sends the messages to the bare loop"),
            ("reader.cpu-ratio", "reader to bare loop"),
            ("today.cpu", "one message at a time, without Postgres's share"),
        ],
    },
    Group {
        name: "latency",
        title: "From sent to committed",
        figures: &[
            ("end-to-end.latency-p50", "under full load with a backlog, p50"),
            ("end-to-end.latency-p99", "p99"),
            ("end-to-end.latency-p999", "p99.9"),
            ("half-load.latency-p50", "at half the rate, p50"),
            ("half-load.latency-p99", "p99"),
            ("half-load.latency-p999", "p99.9"),
            ("idle.latency-p50", "idle, until another session sees the row, p50"),
            ("idle.latency-p99", "p99"),
            ("idle.latency-p999", "p99.9"),
            ("idle.wake-up-p50", "the queue's own wake-up of a bare long poll, p50"),
            ("idle.wake-up-p99", "p99"),
            ("idle.above-p50", "idle above the queue's wake-up, p50"),
            ("idle.above-p99", "p99"),
        ],
    },
    Group {
        name: "memory",
        title: "Peak memory",
        figures: &[
            ("memory.reader", "reader, long queue"),
            ("memory.masker", "masker, long queue"),
            ("memory.writer", "writer, long queue"),
            ("end-to-end.memory-reader", "reader, fed queue"),
            ("end-to-end.memory-masker", "masker, fed queue"),
            ("end-to-end.memory-writer", "writer, fed queue"),
        ],
    },
    Group {
        name: "masker",
        title: "Masking",
        figures: &[
            ("masker.per-core", "masker as a service, a core"),
            ("masker.bare-per-core", "bare masking loop, a core"),
            ("masker.ratio", "the first to the second"),
            ("masker.cpu", "CPU a record, service"),
            ("masker.bare-cpu", "CPU a record, bare loop"),
            ("masker.rate", "through the service, peers on the same cores"),
            ("stream.rate", "bare gRPC stream of the same batches"),
            ("stream.bytes", "the same in bytes"),
            ("stream.cpu", "CPU a record, bare stream, both ends"),
        ],
    },
    Group {
        name: "writer",
        title: "Writing",
        figures: &[
            ("writer.rate", "writer fed over gRPC"),
            ("writer.bare", "bare loop of its statement"),
            ("writer.ratio", "the first to the second"),
            ("writer.copy", "COPY of the same rows, no ledger"),
            ("writer.cpu", "CPU a row, writer"),
            ("writer.postgres-cpu", "CPU a row, Postgres"),
            ("end-to-end.wal", "write-ahead log a row, end to end"),
        ],
    },
    Group {
        name: "ledger",
        title: "The ledger",
        figures: &[
            ("ledger.keys", "keys in the ledger before"),
            ("ledger.with", "bare loop of the statement"),
            ("ledger.without", "the same without the ledger"),
            ("ledger.ratio", "the first to the second"),
            ("ledger.wal-with", "write-ahead log a row with the ledger"),
            ("ledger.wal-without", "without it"),
        ],
    },
    Group {
        name: "start",
        title: "Start to ready",
        figures: &[("start.reader", "reader"), ("start.masker", "masker"), ("start.writer", "writer")],
    },
];

impl Group {
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        GROUPS.iter().find(|group| group.name == name)
    }

    /// What was measured of it, with the spread of the repetitions.
    pub(crate) fn rows(&self, figures: &Figures) -> Rows {
        let mut rows = vec![row(["", "", "lowest … highest"])];
        for (name, label) in self.figures {
            let Some(figure) = figures.get(name) else { continue };
            let spread = |value| super::number::number(&crate::figures::Figure { value, ..figure.clone() });
            let low = figure.samples.iter().copied().fold(f64::MAX, f64::min);
            let high = figure.samples.iter().copied().fold(f64::MIN, f64::max);
            let spread = if figure.samples.len() > 1 {
                format!("{} … {}", spread(low), spread(high))
            } else {
                String::new()
            };
            rows.push(vec![(*label).to_owned(), with_unit(figure), spread]);
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_measured_is_shown() {
        let mut figures = Figures::default();
        figures.add("start.reader", "ms", 80.0);
        figures.add("start.reader", "ms", 90.0);
        let rows = Group::named("start").unwrap().rows(&figures);
        assert_eq!(rows[1..], [["reader", "85.0 ms", "80.0 … 90.0"].map(str::to_owned)]);
    }
}
