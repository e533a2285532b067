//! Parsing and masking one record, and what hashing and hexadecimal digits cost alone.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use sha2::{Digest, Sha512};
use veilpost_masker::{HmacKeys, Mask, Policy};
use veilpost_proto::v1::RawRecord;

const LOGIN: &str = r#"{"user_id":"de94ecb4-10bc-4466-aa11-61690fd154bf","app_version":"23.0.1","device_type":"android","ip":"199.172.111.135","locale":"DE","device_id":"593-47-5928"}"#;

const KEYED: &str = r#"
table = "t"

[[column]]
name = "ip"
source = "/ip"
transform = "hmac-sha512"
domain = "ip"
key = "k1"
"#;

fn record(body: String) -> RawRecord {
    RawRecord { message_id: "m".to_owned(), body: Some(body.into()), ..RawRecord::default() }
}

fn masks() -> [(&'static str, Mask); 2] {
    let usual = Policy::load(None).expect("the built-in policy is good");
    let keyed = Policy::parse(KEYED, "bench").expect("the policy above is good");
    let key = format!("k1={}", "0f".repeat(32));
    let keys = HmacKeys::parse(&key.into(), "bench").expect("the key above is good");
    let mask = |policy: &Policy| Mask::new(policy, &keys).expect("every key is there");
    [("default policy", mask(&usual)), ("one keyed digest", mask(&keyed))]
}

fn apply(criterion: &mut Criterion) {
    let padded = format!("{{\"padding\":\"{}\",{}", "x".repeat(16_384), LOGIN.trim_start_matches('{'));
    let bodies = [("200 B", LOGIN.to_owned()), ("16 KiB", padded)];
    let now = Timestamp::UNIX_EPOCH;
    for (policy, mask) in masks() {
        let mut group = criterion.benchmark_group(format!("mask/{policy}"));
        for (size, body) in &bodies {
            group.throughput(Throughput::Bytes(u64::try_from(body.len()).unwrap_or(u64::MAX)));
            let record = record(body.clone());
            group.bench_function(*size, |bencher| {
                bencher.iter(|| mask.apply(black_box(&record), now).is_ok());
            });
        }
    }
}

fn digest(criterion: &mut Criterion) {
    let bytes: [u8; 64] = std::array::from_fn(|index| u8::try_from(index * 3).unwrap_or_default());
    criterion.bench_function("hex/64 bytes", |bencher| bencher.iter(|| const_hex::encode(black_box(bytes))));
    criterion.bench_function("sha512/in hex", |bencher| {
        bencher.iter(|| const_hex::encode(Sha512::digest(black_box("199.172.111.135"))));
    });
}

criterion_group!(benches, apply, digest);
criterion_main!(benches);
