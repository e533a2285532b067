//! Encoding and decoding batches of a thousand records.

use std::hint::black_box;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::BytesCount;
use prost::Message;
use veilpost_proto::masked::read_record;
use veilpost_proto::v1::value::Kind;
use veilpost_proto::v1::{MaskedBatch, MaskedRecord, RawBatch, RawRecord, Receipt, Value};

const RECORDS: usize = 1_000;

fn main() {
    divan::main();
}

trait Sample: Message + Default + 'static {
    fn sample() -> Self;
}

impl Sample for RawBatch {
    fn sample() -> Self {
        let record = |index: usize| RawRecord {
            message_id: format!("{index:08x}-10bc-4466-aa11-61690fd154bf"),
            body: Some(
                format!(r#"{{"user_id":"{index}","ip":"199.172.111.135","padding":"{}"}}"#, "x".repeat(120))
                    .into(),
            ),
            sent_timestamp_ms: 1_790_000_000_000,
            receive_count: 1,
            ..RawRecord::default()
        };
        Self { id: 1, records: (0..RECORDS).map(record).collect(), ..Self::default() }
    }
}

impl Sample for MaskedBatch {
    fn sample() -> Self {
        let text = |text: String| Value { kind: Some(Kind::Text(text)) };
        let record = |index: usize| MaskedRecord {
            message_id: format!("{index:08x}-10bc-4466-aa11-61690fd154bf"),
            sent_timestamp_ms: 1_790_000_000_000,
            values: vec![
                text("ios".to_owned()),
                text("0f".repeat(64)),
                text("f0".repeat(64)),
                Value::default(),
            ],
            ..MaskedRecord::default()
        };
        let records = Self::encoded((0..RECORDS).map(record));
        Self { id: 1, records, ..Self::default() }
    }
}

impl Sample for Receipt {
    fn sample() -> Self {
        Self { batch_id: 1, outcomes: vec![1; RECORDS], rejections: Vec::new() }
    }
}

#[divan::bench(types = [RawBatch, MaskedBatch, Receipt])]
fn encode<B: Sample>(bencher: Bencher) {
    let batch = B::sample();
    bencher.counter(BytesCount::new(batch.encoded_len())).bench_local(|| black_box(&batch).encode_to_vec());
}

#[divan::bench(types = [RawBatch, MaskedBatch, Receipt])]
fn decode<B: Sample>(bencher: Bencher) {
    let encoded = Bytes::from(B::sample().encode_to_vec());
    bencher.counter(BytesCount::new(encoded.len())).bench_local(|| B::decode(encoded.clone()).is_ok());
}

/// What a writer does with each record of a batch, beside what prost would.
mod masked_records {
    use super::*;

    fn size(batch: &MaskedBatch) -> BytesCount {
        BytesCount::new(batch.records.iter().map(Bytes::len).sum::<usize>())
    }

    #[divan::bench]
    fn read(bencher: Bencher) {
        let batch = MaskedBatch::sample();
        bencher.counter(size(&batch)).bench_local(|| {
            let read = |record: &Bytes| {
                read_record(record, |given, place| {
                    black_box((given, place));
                })
                .is_ok()
            };
            batch.records.iter().all(read)
        });
    }

    #[divan::bench]
    fn decode(bencher: Bencher) {
        let batch = MaskedBatch::sample();
        bencher.counter(size(&batch)).bench_local(|| batch.decoded().is_ok());
    }

    #[divan::bench]
    fn encode(bencher: Bencher) {
        let batch = MaskedBatch::sample();
        let records = batch.decoded().unwrap_or_default();
        bencher.counter(size(&batch)).bench_local(|| MaskedBatch::encoded(black_box(&records)));
    }
}
