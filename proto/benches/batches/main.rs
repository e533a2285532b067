//! Encoding and decoding batches of a thousand records.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;
use veilpost_proto::masked::read_record;
use veilpost_proto::v1::value::Kind;
use veilpost_proto::v1::{MaskedBatch, MaskedRecord, RawBatch, RawRecord, Receipt, Value};

const RECORDS: usize = 1_000;

fn raw() -> RawBatch {
    let record = |index: usize| RawRecord {
        message_id: format!("{index:08x}-10bc-4466-aa11-61690fd154bf"),
        body: Some(
            format!(r#"{{"user_id":"{index}","ip":"199.172.111.135","padding":"{}"}}"#, "x".repeat(120))
                .into(),
        ),
        sent_timestamp_ms: 1_790_000_000_000,
        receive_count: 1,
        producer: None,
    };
    RawBatch { id: 1, records: (0..RECORDS).map(record).collect(), ..RawBatch::default() }
}

fn masked() -> MaskedBatch {
    let text = |text: String| Value { kind: Some(Kind::Text(text)) };
    let record = |index: usize| MaskedRecord {
        message_id: format!("{index:08x}-10bc-4466-aa11-61690fd154bf"),
        sent_timestamp_ms: 1_790_000_000_000,
        values: vec![text("ios".to_owned()), text("0f".repeat(64)), text("f0".repeat(64)), Value::default()],
    };
    let records = MaskedBatch::encoded((0..RECORDS).map(record));
    MaskedBatch { id: 1, records, ..MaskedBatch::default() }
}

fn receipt() -> Receipt {
    Receipt { batch_id: 1, outcomes: vec![1; RECORDS], rejections: Vec::new() }
}

fn both_ways<B: Message + Default>(criterion: &mut Criterion, name: &str, batch: &B) {
    let encoded = Bytes::from(batch.encode_to_vec());
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(u64::try_from(encoded.len()).unwrap_or(u64::MAX)));
    group.bench_function("encode", |bencher| bencher.iter(|| black_box(batch).encode_to_vec()));
    group.bench_function("decode", |bencher| bencher.iter(|| B::decode(encoded.clone()).is_ok()));
}

/// What a writer does with each record of a batch, beside what prost would.
fn records(criterion: &mut Criterion) {
    let batch = masked();
    let bytes: usize = batch.records.iter().map(Bytes::len).sum();
    let mut group = criterion.benchmark_group("masked records");
    group.throughput(Throughput::Bytes(u64::try_from(bytes).unwrap_or(u64::MAX)));
    group.bench_function("read", |bencher| {
        bencher.iter(|| {
            let read = |record: &Bytes| {
                read_record(record, |given, place| {
                    black_box((given, place));
                })
                .is_ok()
            };
            batch.records.iter().all(read)
        });
    });
    group.bench_function("decode", |bencher| bencher.iter(|| batch.decoded().is_ok()));
    let records = batch.decoded().unwrap_or_default();
    group.bench_function("encode", |bencher| {
        bencher.iter(|| MaskedBatch::encoded(black_box(&records)));
    });
}

fn batches(criterion: &mut Criterion) {
    both_ways(criterion, "raw batch", &raw());
    both_ways(criterion, "masked batch", &masked());
    records(criterion);
    both_ways(criterion, "receipt", &receipt());
}

criterion_group!(benches, batches);
criterion_main!(benches);
