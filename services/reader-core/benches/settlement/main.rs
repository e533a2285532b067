//! How long it takes to turn a receipt into the settlement of each delivery.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use veilpost_proto::v1::{Reason, Receipt, Rejection};
use veilpost_reader_core::settlements;

const RECORDS: usize = 1_000;

fn receipt(rejected_every: usize) -> Receipt {
    let outcomes = (0..RECORDS).map(|index| if index % rejected_every == rejected_every - 1 { 3 } else { 1 });
    let rejected = (0..RECORDS).skip(rejected_every - 1).step_by(rejected_every);
    let rejection = |index: usize| Rejection {
        index: u32::try_from(index).unwrap_or(u32::MAX),
        reason: Reason::NotJson.into(),
        detail: String::new(),
    };
    Receipt { batch_id: 1, outcomes: outcomes.collect(), rejections: rejected.map(rejection).collect() }
}

fn settle(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("settle/1,000 records");
    group.throughput(Throughput::Elements(u64::try_from(RECORDS).unwrap_or_default()));
    for (name, rejected_every) in [("all stored", RECORDS + 1), ("every tenth rejected", 10)] {
        let receipt = receipt(rejected_every);
        group.bench_function(name, |bencher| bencher.iter(|| settlements(black_box(&receipt), RECORDS)));
    }
}

criterion_group!(benches, settle);
criterion_main!(benches);
