//! Parsing and masking one record, and what hashing and hexadecimal digits cost alone.

use std::hint::black_box;

use divan::Bencher;
use divan::counter::BytesCount;
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

/// A policy of one column, a copy that is normalised as its argument says.
const NORMALIZED: &str = "
table = \"t\"

[[column]]
name = \"c\"
source = \"/f\"
transform = \"copy\"
";

fn main() {
    divan::main();
}

fn default_policy() -> Mask {
    let policy = Policy::load(None).expect("the built-in policy is good");
    Mask::new(&policy, &HmacKeys::default()).expect("no key is needed")
}

fn one_keyed_digest() -> Mask {
    let policy = Policy::parse(KEYED, "bench").expect("the policy above is good");
    let key = format!("k1={}", "0f".repeat(32));
    let keys = HmacKeys::parse(&key.into(), "bench").expect("the key above is good");
    Mask::new(&policy, &keys).expect("the key is there")
}

/// Padding in bytes, which tells the two bodies apart.
const PADDINGS: [usize; 2] = [0, 16_384];

#[divan::bench(args = PADDINGS)]
fn mask_by_the_default_policy(bencher: Bencher, padding: usize) {
    apply(bencher, &default_policy(), padding);
}

#[divan::bench(args = PADDINGS)]
fn mask_with_one_keyed_digest(bencher: Bencher, padding: usize) {
    apply(bencher, &one_keyed_digest(), padding);
}

fn apply(bencher: Bencher, mask: &Mask, padding: usize) {
    let body = format!("{{\"padding\":\"{}\",{}", "x".repeat(padding), LOGIN.trim_start_matches('{'));
    let bytes = BytesCount::new(body.len());
    let record = RawRecord { message_id: "m".to_owned(), body: Some(body.into()), ..RawRecord::default() };
    let now = Timestamp::UNIX_EPOCH;
    bencher.counter(bytes).bench_local(|| mask.apply(black_box(&record), now).is_ok());
}

/// Compare with `copy_one_field`: the rest is what the normalisation costs.
#[divan::bench(args = [
    ("ip", "199.172.111.135"),
    ("ip", "2001:db8::1:0:0:1"),
    ("lowercase", "Ann.Example@EXAMPLE.org"),
    ("trim", " a "),
    ("nfc", "Ann"),
    ("digits", "+49 170 1234567"),
    ("email", "Ann.Example@EXAMPLE.org"),
])]
fn normalize_and_copy_one_field(bencher: Bencher, (step, value): (&str, &str)) {
    copy(bencher, &format!("{NORMALIZED}normalize = [\"{step}\"]\n"), value);
}

#[divan::bench(args = ["199.172.111.135", "Ann.Example@EXAMPLE.org"])]
fn copy_one_field(bencher: Bencher, value: &str) {
    copy(bencher, NORMALIZED, value);
}

fn copy(bencher: Bencher, policy: &str, value: &str) {
    let policy = Policy::parse(policy, "bench").expect("the policy above is good");
    let mask = Mask::new(&policy, &HmacKeys::default()).expect("no key is needed");
    let body = format!("{{\"f\":\"{value}\"}}");
    let record = RawRecord { message_id: "m".to_owned(), body: Some(body.into()), ..RawRecord::default() };
    bencher.bench_local(|| mask.apply(black_box(&record), Timestamp::UNIX_EPOCH).is_ok());
}

#[divan::bench]
fn hex_of_64_bytes(bencher: Bencher) {
    let bytes: [u8; 64] = std::array::from_fn(|index| u8::try_from(index * 3).unwrap_or_default());
    bencher.bench_local(|| const_hex::encode(black_box(bytes)));
}

#[divan::bench]
fn sha512_in_hex() -> String {
    const_hex::encode(Sha512::digest(black_box("199.172.111.135")))
}
