//! What a load costs on AWS, computed from the measured CPU times and from assumptions that are stated.

use anyhow::Context;
use veilpost_local::numbers::whole;
use veilpost_local::output::grouped;

use super::table::{Rows, row};
use crate::figures::Figures;

const RATES: [f64; 2] = [10_000.0, 1_000_000.0];

/// Seconds in a month of 730 hours.
const MONTH_SECONDS: f64 = 730.0 * 3600.0;

/// Messages in one call, at best; under load calls are full.
const MESSAGES_A_CALL: f64 = 10.0;

/// Seconds that a call to SQS takes from within its region.
const CALL_SECONDS: f64 = 0.02;

/// The share of a core that is meant to be used: the rest is for peaks and rolling updates.
const UTILISATION: f64 = 0.5;

/// Seconds from receive to delete, and so the messages in flight that SQS limits to 120,000 a queue.
const IN_FLIGHT_SECONDS: f64 = 0.1;
const IN_FLIGHT_LIMIT: f64 = 120_000.0;

/// Price tiers of a standard queue: requests a month up to which the tier holds, and dollars for a million
/// requests.
const SQS_TIERS: [(f64, f64); 3] = [(100e9, 0.40), (200e9, 0.30), (f64::INFINITY, 0.24)];

/// Dollars for a core (an AWS vCPU) for an hour of Fargate on ARM, and of RDS for Postgres.
const SERVICE_CORE_HOUR: f64 = 0.032;
const DATABASE_CORE_HOUR: f64 = 0.10;

/// Cores that one Postgres server has at most.
const DATABASE_CORES: f64 = 64.0;

/// Postgres connections of one writer.
const CONNECTIONS: f64 = 2.0;

/// A writer's cores.
const WRITER_CORES: f64 = 1.0;

struct Load {
    rate: f64,
    reader: f64,
    masker: f64,
    writer: f64,
    postgres: f64,
    wal_bytes: f64,
}

impl Load {
    fn of(rate: f64, figures: &Figures) -> anyhow::Result<Self> {
        let value =
            |name: &str| figures.value(name).with_context(|| format!("the model needs the figure {name}"));
        let cores = |name: &str| anyhow::Ok(value(name)? * 1e-6 * rate / UTILISATION);
        Ok(Self {
            rate,
            reader: cores("end-to-end.cpu-reader")?,
            masker: cores("end-to-end.cpu-masker")?,
            writer: cores("end-to-end.cpu-writer")?,
            postgres: cores("end-to-end.cpu-postgres")?,
            wal_bytes: value("end-to-end.wal")? * rate,
        })
    }

    /// Receives and deletes; the producers' sends are theirs.
    fn calls(&self) -> f64 {
        2.0 * self.rate / MESSAGES_A_CALL
    }

    fn sqs_dollars(&self) -> f64 {
        let mut left = self.calls() * MONTH_SECONDS;
        let mut below = 0.0;
        let mut dollars = 0.0;
        for (until, price) in SQS_TIERS {
            let requests = left.min(until - below);
            dollars += requests / 1e6 * price;
            left -= requests;
            below = until;
        }
        dollars
    }

    fn service_dollars(&self) -> f64 {
        (self.reader + self.masker + self.writer) * SERVICE_CORE_HOUR * MONTH_SECONDS / 3600.0
    }

    fn database_dollars(&self) -> f64 {
        self.postgres.ceil() * DATABASE_CORE_HOUR * MONTH_SECONDS / 3600.0
    }
}

/// One column a rate.
pub(crate) fn rows(figures: &Figures) -> anyhow::Result<Rows> {
    let loads = RATES.map(|rate| Load::of(rate, figures));
    let [ten_thousand, million] = loads;
    let loads = [ten_thousand?, million?];
    let line = |what: &str, value: &dyn Fn(&Load) -> String| {
        std::iter::once(what.to_owned()).chain(loads.iter().map(value)).collect::<Vec<_>>()
    };
    let count = |number: f64| grouped(whole(number.ceil()));
    let cores = |number: f64| if number < 10.0 { format!("{number:.1}") } else { count(number) };
    let dollars = |number: f64| format!("${}", grouped(whole(number)));
    Ok(vec![
        row(["", "10,000 msg/s", "1,000,000 msg/s"]),
        line("calls to SQS a second (receive and delete)", &|load| count(load.calls())),
        line("receives at once, and as many deletes", &|load| count(load.calls() / 2.0 * CALL_SECONDS)),
        line("queues, by messages in flight", &|load| count(load.rate * IN_FLIGHT_SECONDS / IN_FLIGHT_LIMIT)),
        line("reader cores", &|load| cores(load.reader)),
        line("masker cores", &|load| cores(load.masker)),
        line("writer cores", &|load| cores(load.writer)),
        line("Postgres cores", &|load| cores(load.postgres)),
        line("Postgres servers", &|load| count(load.postgres / DATABASE_CORES)),
        line("connections to Postgres", &|load| count((load.writer / WRITER_CORES).ceil() * CONNECTIONS)),
        line("write-ahead log, MB/s", &|load| count(load.wal_bytes / 1e6)),
        line("SQS requests, a month", &|load| dollars(load.sqs_dollars())),
        line("the three services, a month", &|load| dollars(load.service_dollars())),
        line("Postgres without storage, a month", &|load| dollars(load.database_dollars())),
        line("a million messages, all of it", &|load| {
            let month = load.sqs_dollars() + load.service_dollars() + load.database_dollars();
            format!("${:.3}", month / (load.rate * MONTH_SECONDS / 1e6))
        }),
    ])
}

/// What the model takes for granted, as a list.
pub(crate) fn assumptions() -> String {
    let [(_, first), (_, second), (_, third)] = SQS_TIERS;
    let lines = [
        "Prices are list prices of us-east-1 as remembered on 2026-11-25, without discounts, transfer, storage and taxes; check \
         them before you decide anything."
            .to_owned(),
        format!(
            "SQS: ${first:.2} for a million requests up to 100 billion a month, ${second:.2} up to 200 billion, ${third:.2} \
             beyond; a request of more than 64 KiB counts as several, so ten bodies of more than 6.4 KiB cost more."
        ),
        format!(
            "Under load calls carry {MESSAGES_A_CALL:.0} messages and take {:.0} ms; a message is in flight for {:.0} ms. \
             Heartbeats and empty polls are few and left out; so are the producers' sends.",
            CALL_SECONDS * 1e3,
            IN_FLIGHT_SECONDS * 1e3
        ),
        format!(
            "A core does what one of the measured machine does, and is used to {:.0} %. A core costs ${SERVICE_CORE_HOUR} an \
             hour for the services and ${DATABASE_CORE_HOUR} for Postgres, of which one server has {DATABASE_CORES:.0} at most.",
            UTILISATION * 1e2
        ),
        format!(
            "A writer has {WRITER_CORES:.0} core and {CONNECTIONS:.0} connections. Cost grows in proportion: no service shares \
             anything with its replicas but the table."
        ),
    ];
    lines.map(|line| format!("- {line}\n")).concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        let mut figures = Figures::default();
        for (who, cpu) in [("reader", 30.0), ("masker", 3.0), ("writer", 2.0), ("postgres", 10.0)] {
            figures.add(&format!("end-to-end.cpu-{who}"), "µs", cpu);
        }
        figures.add("end-to-end.wal", "bytes", 1_000.0);
        figures
    }

    #[test]
    fn ten_thousand_a_second_need_twenty_receives_at_once() {
        let rows = rows(&figures()).unwrap();
        let of = |what: &str| rows.iter().find(|row| row[0].starts_with(what)).unwrap().clone();
        assert_eq!(of("calls")[1..], ["2,000", "200,000"]);
        assert_eq!(of("receives at once")[1], "20");
        assert_eq!(of("reader cores")[1..], ["0.6", "60"]);
        assert_eq!(of("write-ahead")[1..], ["10", "1,000"]);
    }

    #[test]
    fn requests_become_cheaper_by_tiers() {
        let load = |rate: f64| Load::of(rate, &figures()).unwrap().sqs_dollars();
        // 5.256 billion requests at 0.40.
        assert!((load(10_000.0) - 2_102.4).abs() < 0.1);
        // 525.6 billion: 100 at 0.40, 100 at 0.30, 325.6 at 0.24.
        assert!((load(1_000_000.0) - 148_144.0).abs() < 1.0);
    }

    #[test]
    fn without_measurements_there_is_no_model() {
        assert!(rows(&Figures::default()).is_err());
    }
}
