//! How long it takes to turn a receipt into the settlement of each delivery.

use std::hint::black_box;

use divan::Bencher;
use divan::counter::ItemsCount;
use veilpost_proto::v1::{Reason, Receipt, Rejection};
use veilpost_reader_core::settlements;

const RECORDS: usize = 1_000;

fn main() {
    divan::main();
}

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

/// Once with everything stored, once with every tenth record rejected.
#[divan::bench(args = [RECORDS + 1, 10])]
fn settle(bencher: Bencher, rejected_every: usize) {
    let receipt = receipt(rejected_every);
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| settlements(black_box(&receipt), RECORDS));
}
